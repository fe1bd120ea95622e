//! What opens beside the page: the dialog of conflicts and changes, the panel of this device, and the offer to undo a removal.

mod compare;
mod device;
mod toast;

use std::rc::Rc;

use leptos::prelude::*;

pub(super) use self::{
    compare::CompareDialog,
    device::{DeviceButton, DevicePanel, clock_is_off, describe_clock, is_clock_right},
    toast::Toast,
};

/// A button that stands in a text.
pub(super) fn action(text: String, run: Rc<dyn Fn()>) -> impl IntoView {
    view! {
        <button class="plain" on:click=move |_| run()>
            {text}
        </button>
    }
}
