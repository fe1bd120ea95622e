//! What a person has to know now.

mod held;
mod news;
mod plain_http;

use leptos::prelude::*;

use self::{held::Held, news::News, plain_http::PlainHttp};
use super::ui::Ui;
use crate::model::{Act, Areas, Model, Sync};

/// All notices.
#[component]
pub(super) fn Notices() -> impl IntoView {
    view! {
        <Troubles />
        <PlainHttp />
        <News />
        <Held />
    }
}

/// Trouble with the connection, a refused edit, edits that only this page has, a new version.
#[component]
fn Troubles() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let notice = ui.text(Areas::STATUS, |model| model.notice().unwrap_or_default().to_owned());
    let refusal = ui.text(Areas::STATUS, |model| model.refusal().unwrap_or_default().to_owned());
    let unsaved = ui.text(Areas::STATUS, unsaved);
    view! {
        <div role="alert" class="notices">
            <p class="banner trouble" hidden=Ui::is_empty(notice)>
                <span>{notice}</span>
                <a href="" rel="external">"Reload"</a>
            </p>
            <p class="banner trouble" hidden=Ui::is_empty(refusal)>
                <span>"Not written: " {refusal} "."</span>
                <button class="plain" on:click=ui.runs(|| Act::CloseRefusal)>"Close"</button>
            </p>
            <p class="banner trouble" hidden=Ui::is_empty(unsaved)>
                <span>{unsaved}</span>
                <button class="plain" on:click=ui.runs(|| Act::Export)>"Export them"</button>
            </p>
            // The document's script shows it, and listens to the button: see `src/pages/start.js`.
            <p id="new-version" class="banner" hidden>
                <span>"A new version is ready."</span>
                <button class="plain">"Reload"</button>
            </p>
        </div>
    }
}

fn unsaved(model: &Model) -> String {
    let Sync::NotSaved(edits) = model.status().sync else { return String::new() };
    let (what, verb, them) = if edits == 1 { ("edit", "waits", "it") } else { ("edits", "wait", "them") };
    let trouble = model.status().trouble.as_ref();
    let why = trouble.map_or_else(String::new, |trouble| format!(" This device keeps nothing: {trouble}."));
    format!(
        "Offline. {edits} {what} {verb} in this tab until the server can be reached: closing or reloading it loses {them}.{why}"
    )
}
