//! The search.

use leptos::prelude::*;

use crate::{
    app::ui::Ui,
    model::{Act, Areas},
};

/// The searchbox: each letter narrows the rows at once.
#[component]
pub(super) fn SearchBox() -> impl IntoView {
    let ui = expect_context::<Ui>();
    view! {
        <input
            type="search"
            class="search"
            aria-label="Search"
            placeholder="Search keys and values"
            autocapitalize="none"
            spellcheck="false"
            node_ref=ui.search_field
            on:input=ui.types(Act::Search)
        />
    }
}

/// How many entries there are, and how many of them are found.
#[component]
pub(super) fn Found() -> impl IntoView {
    let ui = expect_context::<Ui>();
    let text = ui.text(Areas::ROWS | Areas::STATUS, |model| {
        let live = model.status().live;
        let entries = if live == 1 { "entry" } else { "entries" };
        if model.search().is_empty() {
            format!("{} {entries}", grouped(live))
        } else {
            format!("{} of {} {entries}", grouped(model.len() as u64), grouped(live))
        }
    });
    let is_unknown = ui.is(Areas::STATUS, |model| !model.is_here());
    view! { <p class="count" aria-live="polite" hidden=is_unknown>{text}</p> }
}

/// A number in groups of three digits, with narrow spaces that do not break.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        let check = |number, expected: &str| assert_eq!(grouped(number).replace('\u{202f}', " "), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1 000");
        check(1_234_567, "1 234 567");
    }
}
