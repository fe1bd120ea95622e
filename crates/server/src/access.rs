//! Who may do what with a dictionary.
//!
//! Whoever reaches the server may read and write every dictionary, so each token is as good as none. Links and tokens that
//! grant less are judged here once there are any; what a role may do is judged where a command is applied.

use keybook_core::{DictionaryName, wire::Role};

/// What a connection may do that said Hello with this token.
pub(crate) fn role(_dictionary: &DictionaryName, _token: Option<&str>) -> Role {
    Role::Writer
}
