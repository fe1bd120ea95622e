//! What does not work where a browser gives a page less, said once.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas},
};

/// The note, until it is closed.
#[component]
pub(super) fn PlainHttp() -> impl IntoView {
    let ui = expect_context::<Ui>();
    view! {
        <p class="banner note" role="note" hidden=ui.is(Areas::STATUS, |model| !model.is_plain_http())>
            <span>
                "Over plain HTTP this page does not open without its server, and tabs need seconds to notice that another "
                "was closed. Edits are kept on this device all the same."
            </span>
            <button class="plain" on:click=ui.runs(|| Act::AcceptPlainHttp)>"Close"</button>
        </p>
    }
}
