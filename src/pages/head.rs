//! The head of every page.

use leptos::prelude::*;

/// What the head of every page has, an error's too.
pub(super) fn head(title: String, style: String) -> impl IntoView {
    view! {
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>{title}</title>
        <link rel="icon" href="/favicon.svg" type="image/svg+xml" />
        <link rel="apple-touch-icon" href="/icon-touch.png" />
        <link rel="manifest" href="/manifest.webmanifest" />
        <link rel="stylesheet" href=style />
    }
}
