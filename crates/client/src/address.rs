//! Where a dictionary is.

use std::fmt;

use keybook_core::{DictionaryName, NameError, paths};
use tokio_tungstenite::tungstenite::http::{Uri, uri::InvalidUri};

/// A dictionary on a server, as the address of its page: `http://host:port/d/name`, or `http://host:port/` for `main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// With the port.
    authority: String,
    name: DictionaryName,
}

/// Why a text is not the address of a dictionary.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not a URL.
    #[error("{0:?} is no address: {1}")]
    Url(String, InvalidUri),
    /// A URL of another scheme.
    #[error("{0:?} is no address of a dictionary: it begins with http://, and has a host")]
    Scheme(String),
    /// A URL of something else.
    #[error("{0:?} is no address of a dictionary: its path is / or /d/ and a name")]
    Path(String),
    /// Its name cannot be.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one of a dictionary's page.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let uri: Uri = url.parse().map_err(|error| AddressError::Url(url.to_owned(), error))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(AddressError::Scheme(url.to_owned()));
        };
        let name = paths::name_of_page(uri.path()).ok_or_else(|| AddressError::Path(url.to_owned()))?;
        let authority = match authority.port() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Self { authority, name: DictionaryName::parse(name)? })
    }

    /// Host and port, to connect to.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The name of the dictionary there.
    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, paths::page(self.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |url: &str, expected: Result<&str, &str>| {
            let found = Address::parse(url).map(|address| address.to_string()).map_err(|error| error.to_string());
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                _ => panic!("{url}: {found:?}"),
            }
        };
        check("http://127.0.0.1:3000", Ok("http://127.0.0.1:3000/d/main"));
        check("http://keybook.example/d/prices", Ok("http://keybook.example:80/d/prices"));
        check("http://[::1]:3000/d/a.b", Ok("http://[::1]:3000/d/a.b"));
        check("https://keybook.example/", Err("begins with http://"));
        check("keybook.example", Err("begins with http://"));
        check("http://a b/", Err("no address"));
        check("http://localhost/api/docs", Err("its path is / or /d/"));
        check("http://localhost/d/Prices", Err("\"Prices\" is no name"));
    }
}
