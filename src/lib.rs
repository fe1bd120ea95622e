//! Keybook: a shared dictionary that many people and programs edit at once.
//!
//! One crate, built twice: with `ssr` it is the server and its command line, with `hydrate` the page's WebAssembly. What
//! both share are [`app`] and [`model`]. The data, its merge and its protocol are in `keybook-core`, which knows of neither.

#[cfg(all(feature = "ssr", feature = "hydrate"))]
compile_error!("`ssr` and `hydrate` are two programs: add --no-default-features when asking for `hydrate`");
#[cfg(not(any(feature = "ssr", feature = "hydrate")))]
compile_error!("choose `ssr` (the server, the default) or `hydrate` (the page)");

pub mod app;
#[cfg(feature = "hydrate")]
pub mod browser;
#[cfg(feature = "ssr")]
pub mod cli;
pub mod model;
#[cfg(feature = "ssr")]
pub mod pages;

/// Brings the page that the server rendered to life. The document calls it once the WebAssembly is loaded.
#[cfg(feature = "hydrate")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn hydrate() {
    console_error_panic_hook::set_once();
    browser::know(|opener| {
        leptos::mount::hydrate_body(|| {
            leptos::prelude::provide_context(opener);
            app::App()
        });
    });
}
