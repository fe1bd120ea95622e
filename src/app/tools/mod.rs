//! What stands between the form and the grid: the search, and buttons.

mod conflicts;
mod drafts;
mod search;
mod undo;

use leptos::prelude::*;

use self::{
    conflicts::ConflictsButton,
    drafts::DraftsButton,
    search::{Found, SearchBox},
    undo::UndoButtons,
};
use super::side::DeviceButton;

/// The row of tools.
#[component]
pub(super) fn Tools() -> impl IntoView {
    view! {
        <div class="tools needs-script">
            <SearchBox />
            <Found />
            <div class="actions">
                <DraftsButton />
                <ConflictsButton />
                <UndoButtons />
                <DeviceButton />
            </div>
        </div>
    }
}
