//! What the components share: the model, a trigger for each of its areas, and the elements that keep a focus or a place.

use leptos::{ev, html, prelude::*};
use send_wrapper::SendWrapper;

use crate::model::{Act, Areas, FirstPage, Focus, Model, OpenBrowser, Run, SharedModel};

/// The page, for its components; cheap to copy.
#[derive(Clone, Copy)]
pub(super) struct Ui {
    model: StoredValue<SharedModel>,
    /// One for each of [`Areas::EACH`].
    changed: [Trigger; 4],
    /// Runs acts, once the page is alive. The server has none, and may drop it in another thread than the one that made it.
    run: StoredValue<Option<SendWrapper<Run>>>,
    pub(super) key_field: NodeRef<html::Input>,
    pub(super) value_field: NodeRef<html::Textarea>,
    pub(super) search_field: NodeRef<html::Input>,
    /// The element that scrolls and takes the keys.
    pub(super) grid: NodeRef<html::Div>,
    /// The element that is as high as all rows.
    pub(super) body: NodeRef<html::Div>,
    /// The dialog of conflicts and changes.
    pub(super) dialog: NodeRef<html::Dialog>,
}

impl Ui {
    pub(super) fn new(first: FirstPage) -> Self {
        Self {
            model: StoredValue::new(SharedModel::new(Model::new(first))),
            changed: [(); 4].map(|()| Trigger::new()),
            run: StoredValue::new(None),
            key_field: NodeRef::new(),
            value_field: NodeRef::new(),
            search_field: NodeRef::new(),
            grid: NodeRef::new(),
            body: NodeRef::new(),
            dialog: NodeRef::new(),
        }
    }

    /// Brings the model to life, where there is a browser, and takes over what was typed before.
    pub(super) fn attach(self) {
        let Some(OpenBrowser { author, open }) = use_context() else { return };
        let run = open(author, self.model.get_value(), Box::new(move |areas| self.notify(areas)));
        self.run.set_value(Some(SendWrapper::new(run)));
        let input = |field: NodeRef<html::Input>| field.get_untracked().map(|field| field.value());
        let acts = [
            input(self.key_field).map(Act::TypeKey),
            self.value_field.get_untracked().map(|field| Act::TypeValue(field.value())),
            input(self.search_field).map(Act::Search),
        ];
        acts.into_iter().flatten().for_each(|act| self.act(act));
    }

    /// Runs an act of the person, and moves the focus as that wants.
    pub(super) fn act(self, act: Act) {
        let Some(run) = self.run.get_value() else { return };
        if !matches!(act, Act::TypeKey(_) | Act::TypeValue(_) | Act::TypeEdit(_)) {
            // A banner may have come or gone. Before anything changes, or it costs a layout.
            self.measure();
        }
        if let Some(focus) = run(act) {
            self.focus(focus);
        }
    }

    /// A handler of events that runs an act. All are of one type: each is code of its own.
    pub(super) fn runs<E>(self, act: fn() -> Act) -> impl Fn(E) + Clone {
        move |_| self.act(act())
    }

    /// The same, for what is typed into a field.
    pub(super) fn types(self, act: fn(String) -> Act) -> impl Fn(ev::Event) + Clone {
        move |event| self.act(act(event_target_value(&event)))
    }

    /// Reads the model now, and again when one of these areas has changed.
    pub(super) fn read<T>(self, areas: Areas, read: impl FnOnce(&Model) -> T) -> T {
        self.track(areas);
        self.peek(read)
    }

    /// Reads the model once.
    pub(super) fn peek<T>(self, read: impl FnOnce(&Model) -> T) -> T {
        self.model.get_value().read(read)
    }

    /// Tells the model what the page's elements do.
    pub(super) fn report(self, report: impl FnOnce(&mut Model)) {
        let areas = self.model.get_value().write(|model| {
            report(model);
            model.take_changed()
        });
        self.notify(areas);
    }

    /// A text of the model, for the view.
    pub(super) fn text(self, areas: Areas, read: fn(&Model) -> String) -> Signal<String> {
        Signal::derive(move || self.read(areas, read))
    }

    /// An attribute of the model, for the view; none where an element is without it.
    pub(super) fn attribute(self, areas: Areas, read: fn(&Model) -> Option<String>) -> Signal<Option<String>> {
        Signal::derive(move || self.read(areas, read))
    }

    /// A yes or no of the model, for the view.
    pub(super) fn is(self, areas: Areas, read: fn(&Model) -> bool) -> Signal<bool> {
        Signal::derive(move || self.read(areas, read))
    }

    /// Whether a text says nothing: what shows it is hidden then.
    pub(super) fn is_empty(text: Signal<String>) -> Signal<bool> {
        Signal::derive(move || text.with(String::is_empty))
    }

    /// Gives the focus to an element.
    pub(super) fn focus(self, focus: Focus) {
        // Each fails only for an element that is not in a document, or for a dialog that is open already.
        let _ = match focus {
            Focus::Grid => self.grid.get_untracked().map(|grid| grid.focus()),
            Focus::KeyField => self.key_field.get_untracked().map(|field| field.focus()),
            Focus::ValueField => self.value_field.get_untracked().map(|field| field.focus()),
            Focus::Dialog => self.dialog.get_untracked().map(|dialog| match dialog.open() {
                true => dialog.focus(),
                false => dialog.show_modal(),
            }),
        };
    }

    /// Runs something now, and again when what it reads has changed; in the browser alone. All effects are of one type: each is
    /// code of its own.
    pub(super) fn effect(run: Box<dyn Fn()>) {
        Effect::new(move |_| run());
    }

    fn track(self, areas: Areas) {
        for (area, changed) in Areas::EACH.into_iter().zip(self.changed) {
            if areas.meets(area) {
                changed.track();
            }
        }
    }

    fn notify(self, areas: Areas) {
        for (area, changed) in Areas::EACH.into_iter().zip(self.changed) {
            if areas.meets(area) {
                changed.notify();
            }
        }
    }
}
