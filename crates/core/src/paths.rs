//! The addresses of dictionaries on a server, built and read here alone: the page, the server, the native client and the
//! command line agree on them by sharing this.
//!
//! `paths::page("{name}")` and the like are the patterns that a router takes.

/// The dictionary that the page at `/` shows.
pub const MAIN: &str = "main";

/// What is before a name in the path of a dictionary's page.
const PAGE: &str = "/d/";

/// What is before everything that programs read.
pub const API: &str = "/api/";

/// The path of a dictionary's page.
pub fn page(name: &str) -> String {
    format!("{PAGE}{name}")
}

/// The name of the dictionary whose page has this path: `/` is that of [`MAIN`]. The name is not checked.
pub fn name_of_page(path: &str) -> Option<&str> {
    if path == "/" { Some(MAIN) } else { path.strip_prefix(PAGE) }
}

/// Where a replica opens its WebSocket.
pub fn socket(name: &str) -> String {
    api(name, "socket")
}

/// Where a replica fetches a snapshot.
pub fn snapshot(name: &str) -> String {
    api(name, "snapshot")
}

fn api(name: &str, what: &str) -> String {
    format!("{API}v1/dictionaries/{name}/{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_name_that_its_path_was_built_of() {
        assert_eq!(name_of_page(&page("prices")), Some("prices"));
        assert_eq!(name_of_page("/"), Some(MAIN));
        assert_eq!(name_of_page("/api/v1/dictionaries/prices/socket"), None);
        assert_eq!(socket("prices"), "/api/v1/dictionaries/prices/socket");
        assert_eq!(snapshot("prices"), "/api/v1/dictionaries/prices/snapshot");
    }
}
