//! What does not work where a browser gives a page less, said once.

use leptos::prelude::*;

use super::state::PageState;

/// The note, until it is closed.
#[component]
pub(super) fn PlainHttp() -> impl IntoView {
    let page = expect_context::<PageState>();
    let close = move |_| {
        if let Some(replica) = page.replica() {
            replica.accept_plain_http();
        }
    };
    view! {
        <p class="banner note" role="note" hidden=page.is(|state| !state.status().is_plain_http)>
            <span>
                "Over plain HTTP, edits are kept on this device, but this page does not open without its server, and what a "
                "closed tab leaves takes seconds to be found. HTTPS mends both."
            </span>
            <button class="plain" on:click=close>"Close"</button>
        </p>
    }
}
