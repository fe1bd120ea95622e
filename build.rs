//! Builds the server again when the page's files change, since it embeds them and the embedding macro cannot see new
//! ones. A debug build reads them from the folder instead, and the page itself has none.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let embeds = env::var_os("CARGO_FEATURE_SSR").is_some() && env::var("PROFILE").is_ok_and(|name| name == "release");
    if embeds {
        println!("cargo::rerun-if-changed=target/site");
    }
}
