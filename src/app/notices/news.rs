//! What a person hears of conflicts, and of what changed while the device was away.

use std::rc::Rc;

use leptos::prelude::*;

use crate::{
    app::{side::action, ui::Ui},
    model::{Act, Areas, Model},
};

/// Says what has happened without this person: it stays until it is closed, or there is nothing to say any more.
#[component]
pub(super) fn News() -> impl IntoView {
    let ui = expect_context::<Ui>();
    view! {
        <section class=ui.text(Areas::STATUS, news_class) role="alert" hidden=ui.is(Areas::STATUS, |model| news(model).is_empty())>
            <span>{ui.text(Areas::STATUS, news)}</span>
            {action("Review".to_owned(), Rc::new(move || ui.act(Act::Review)))}
            {action("Close".to_owned(), Rc::new(move || ui.act(Act::CloseNews)))}
        </section>
    }
}

fn news(model: &Model) -> String {
    match (model.status().changed, model.unheard()) {
        (0, 0) => String::new(),
        (0, 1) => "1 of your edits lost to another’s.".to_owned(),
        (0, lost) => format!("{lost} of your edits lost to others’."),
        (changed, 0) => format!("While you were away: {changed} changed."),
        (changed, lost) => format!("While you were away: {changed} changed, {lost} of yours lost."),
    }
}

fn news_class(model: &Model) -> String {
    if model.unheard() > 0 { "banner trouble" } else { "banner" }.to_owned()
}
