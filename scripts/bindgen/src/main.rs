//! Makes the page's JavaScript and its WebAssembly of what Cargo has compiled: `keybook-bindgen INPUT.wasm FOLDER`.
//!
//! wasm-bindgen's own command line does the same. It brings a test runner with an HTTP server and TLS, and takes twice
//! as long to compile; and as a package of this workspace its version cannot differ from the page's.

use std::env;

use anyhow::{Context as _, bail};
use wasm_bindgen_cli_support::Bindgen;

/// The name of the page's files, as in Leptos.toml.
const OUTPUT_NAME: &str = "keybook";

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(input), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        bail!("usage: keybook-bindgen INPUT.wasm FOLDER");
    };
    Bindgen::new()
        .web(true)?
        .typescript(false)
        // The document says where the WebAssembly is.
        .omit_default_module_path(true)
        .input_path(&input)
        .out_name(OUTPUT_NAME)
        .generate(&folder)
        .with_context(|| format!("wasm-bindgen fails on {}", input.display()))
}
