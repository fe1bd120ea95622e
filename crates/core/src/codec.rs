//! How structs and frames are CBOR: an array of the fields in their order. A reader skips what follows the fields that it
//! knows, and takes what is missing at the end for none; a writer leaves none out at the end.
//!
//! minicbor's derived codecs accept more ways to write an array, and were a tenth of the page.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode, encode::Write};

/// An array that is being written.
#[derive(Debug)]
pub struct Elements<'e, W> {
    encoder: &'e mut Encoder<W>,
    left: usize,
}

impl<'e, W: Write> Elements<'e, W> {
    /// Begins an array, of which each element is none or not.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn begin(encoder: &'e mut Encoder<W>, nones: &[bool]) -> Result<Self, encode::Error<W::Error>> {
        let left = nones.iter().rposition(|none| !none).map_or(0, |last| last + 1);
        encoder.array(left as u64)?;
        Ok(Self { encoder, left })
    }

    /// Writes the next element, unless it and all behind it are none.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn element<T: Encode<()>>(&mut self, element: &T) -> Result<(), encode::Error<W::Error>> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        element.encode(self.encoder, &mut ())
    }
}

/// An array that is being read.
#[derive(Debug)]
pub struct Fields<'d, 'b> {
    decoder: &'d mut Decoder<'b>,
    left: u64,
}

impl<'d, 'b> Fields<'d, 'b> {
    /// Begins to read an array.
    ///
    /// # Errors
    /// When there is none, or one of indefinite length.
    pub fn begin(decoder: &'d mut Decoder<'b>) -> Result<Self, decode::Error> {
        let left = decoder.array()?.ok_or_else(|| decode::Error::message("an array without its length"))?;
        Ok(Self { decoder, left })
    }

    /// Reads the next field; one that is not there is none.
    ///
    /// # Errors
    /// When it is something else, or is missing and cannot be none.
    pub fn field<T: Decode<'b, ()>>(&mut self) -> Result<T, decode::Error> {
        if self.left == 0 {
            return T::nil().ok_or_else(|| decode::Error::message("an array is too short"));
        }
        self.left -= 1;
        self.decoder.decode()
    }

    /// Skips what is left.
    ///
    /// # Errors
    /// When it is not CBOR.
    pub fn end(self) -> Result<(), decode::Error> {
        (0..self.left).try_for_each(|_| self.decoder.skip())
    }
}

/// Refuses lengths that are not told in advance, wherever they are: the frames have none, and each decoder would take some and
/// refuse others. Also refuses what no item begins with. What else is wrong is for the decoders to say. O(items).
///
/// # Errors
/// When there is one.
pub fn check_definite(bytes: &[u8]) -> Result<(), decode::Error> {
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let width = match first & 0x1f {
            0..24 => 0,
            short @ 24..28 => 1 << (short - 24),
            28..31 => return Err(decode::Error::message("no item begins so").at(at)),
            _ => return Err(decode::Error::message("a length that is not told in advance").at(at)),
        };
        let Some(number) = bytes.get(at + 1..at + 1 + width) else { return Ok(()) };
        let number = number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        at += 1 + width;
        if matches!(first >> 5, 2 | 3) {
            let length = if width == 0 { u64::from(first & 0x1f) } else { number };
            at = at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        }
    }
    Ok(())
}

/// A struct as an array of its fields.
#[macro_export]
macro_rules! cbor_array {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl minicbor::Encode<()> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut (),
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                let nones = [$(minicbor::Encode::<()>::is_nil(&self.$field)),+];
                let mut elements = $crate::codec::Elements::begin(encoder, &nones)?;
                $(elements.element(&self.$field)?;)+
                Ok(())
            }
        }

        impl<'b> minicbor::Decode<'b, ()> for $name {
            fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut ()) -> Result<Self, minicbor::decode::Error> {
                let mut fields = $crate::codec::Fields::begin(decoder)?;
                let value = Self { $($field: fields.field()?),+ };
                fields.end()?;
                Ok(value)
            }
        }
    };
}

/// Frames as arrays of their number and fields. The fields of a variant in brackets are those of a struct of the same name.
macro_rules! frames {
    ($name:ident { $(
        $number:literal $variant:ident $({ $($field:ident),+ $(,)? })? $(($inner:ident))? $([$($part:ident),+])?
    ),+ $(,)? }) => {
        impl minicbor::Encode<()> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut (),
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                match self {
                    $(Self::$variant $({ $($field),+ })? $(($inner))? $(($variant { $($part),+ }))? => {
                        let nones = [
                            false,
                            $($(minicbor::Encode::<()>::is_nil($field)),+)?
                            $(minicbor::Encode::<()>::is_nil($inner))?
                            $($(minicbor::Encode::<()>::is_nil($part)),+)?
                        ];
                        let mut elements = $crate::codec::Elements::begin(encoder, &nones)?;
                        elements.element(&$number)?;
                        $($(elements.element($field)?;)+)?
                        $(elements.element($inner)?;)?
                        $($(elements.element($part)?;)+)?
                    })+
                }
                Ok(())
            }
        }

        impl<'b> minicbor::Decode<'b, ()> for $name {
            fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut ()) -> Result<Self, minicbor::decode::Error> {
                let mut fields = $crate::codec::Fields::begin(decoder)?;
                let number: u64 = fields.field()?;
                let frame = match number {
                    $($number => {
                        $($(let $field = fields.field()?;)+)?
                        $(let $inner = fields.field()?;)?
                        $($(let $part = fields.field()?;)+)?
                        Self::$variant $({ $($field),+ })? $(($inner))? $(($variant { $($part),+ }))?
                    })+
                    number => return Err(minicbor::decode::Error::message(format!("unknown frame {number}"))),
                };
                fields.end()?;
                Ok(frame)
            }
        }
    };
}

/// Codes as their numbers. A number that is none of these is kept: a later version may know it.
macro_rules! codes {
    ($name:ident { $($number:literal $variant:ident),+ $(,)? }) => {
        impl $name {
            /// The number on the wire.
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Unknown(number) => number,
                }
            }
        }

        impl minicbor::Encode<()> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                encoder: &mut minicbor::Encoder<W>,
                _: &mut (),
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                encoder.u32(self.number())?.ok()
            }
        }

        impl<'b> minicbor::Decode<'b, ()> for $name {
            fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut ()) -> Result<Self, minicbor::decode::Error> {
                Ok(match decoder.u32()? {
                    $($number => Self::$variant,)+
                    number => Self::Unknown(number),
                })
            }
        }
    };
}

pub(crate) use codes;
pub(crate) use frames;
