//! The page from top to bottom.

use leptos::prelude::*;

use super::{
    form::EntryForm,
    grid::Grid,
    notices::Notices,
    side::{CompareDialog, DevicePanel, Toast},
    status::{AuthorButton, States},
    tools::Tools,
    ui::Ui,
};
use crate::model::Areas;

/// Everything that is seen.
#[component]
pub(super) fn Page() -> impl IntoView {
    let ui = expect_context::<Ui>();
    view! {
        <header class="bar">
            <a class="brand" href="/">
                <img src="/favicon.svg" alt="" width="24" height="24" />
                <span>"Keybook"</span>
            </a>
            <h1>{ui.text(Areas::STATUS, |model| model.name().unwrap_or_default().to_owned())}</h1>
            <States />
            <AuthorButton />
        </header>
        <main class="page">
            <p class="banner no-script">
                "Without JavaScript this page shows the first entries of the dictionary, and cannot change them."
            </p>
            <Notices />
            <EntryForm />
            <Tools />
            <Grid />
        </main>
        <DevicePanel />
        <Toast />
        <CompareDialog />
    }
}
