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
                "This address is plain HTTP, where browsers let a page do less. Edits are kept on this device and sent when the "
                "server can be reached, but without it this page does not open. Other tabs notice only after seconds that one was "
                "closed. With HTTPS, or on localhost, all of it works."
            </span>
            <button class="plain" on:click=close>"Close"</button>
        </p>
    }
}
