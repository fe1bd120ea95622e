//! The wire: subprotocol `keybook.v1`. One binary WebSocket message is one frame, a CBOR array whose first element is the
//! frame's number (RFC 8949, by minicbor). Fields a reader does not know are skipped, so later versions append.
//!
//! docs/protocol.md has the CDDL. The snapshot, which travels over HTTP, is in [`snapshot`].
//!
//! What a peer sent is checked while it is decoded: nothing is allocated by a length that it only claims.

mod codes;
mod frames;

mod delta;

pub mod snapshot;

pub use codes::{AckClass, AckCode, ByeCode};
pub(crate) use delta::Positions;
pub use delta::{AuthorTable, Change, Delta, WireBringer, WireChange, WireChanges, WireConflict, WireEntry};
pub(crate) use frames::encode;
pub use frames::{
    Check, ClientFrame, Condition, Exception, FRAME_IGNORED_MIN, Horizon, Mode, Op, Role, SUBPROTOCOL, ServerFrame,
    VERSION, VERSIONS, Versions, WireError,
};
