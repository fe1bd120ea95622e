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
                "Over plain HTTP this page does not open without its server, and tabs need seconds to notice that another "
                "was closed. Edits are kept on this device all the same."
            </span>
            <button class="plain" on:click=close>"Close"</button>
        </p>
    }
}
