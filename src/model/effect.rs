//! What passes between the model and the browser.

use std::rc::Rc;

use keybook_core::{Person, Secret, device, device::WhoLives};

use super::{Act, Areas, Focus, SharedModel, search::Fold};

/// What the browser has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a socket; then [`super::Model::handle_connected`] or [`super::Model::handle_disconnected`].
    Connect,
    /// Close the socket, if there is one; then [`super::Model::handle_disconnected`].
    Disconnect,
    /// Send this over the socket; if that is not possible, [`super::Model::handle_disconnected`].
    Send(Vec<u8>),
    /// Fetch the snapshot; then [`super::Model::handle_snapshot`].
    FetchSnapshot,
    /// What the device asks for.
    Device(device::Effect),
    /// Find out how much room there is; then [`super::Model::handle_room`].
    Look,
    /// Delete the local store; then [`super::Model::handle_refused`].
    Forget,
    /// Save this text as a file of this device.
    Export(String),
    /// Keep who edits here.
    KeepAuthor(Person),
    /// Keep that the person knows what does not work over plain HTTP.
    KeepPlainHttp,
}

/// What the browser brings along when the page comes to life.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The name of the page's dictionary, by its address.
    pub name: String,
    /// The secret of the replica that this page is, which was never used before.
    pub replica: Secret,
    /// Who edits here.
    pub author: Person,
    /// How this page learns that another has ended.
    pub lives: WhoLives,
    /// The browser lets this page do less, and the person has not been told.
    pub is_plain_http: bool,
    /// Brings a text into Unicode's normalization form C, as keys are.
    pub normalize: fn(&str) -> String,
    /// Folds texts that a search takes for the same.
    pub fold: Fold,
}

/// The room that a browser gives this site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What all of the site takes.
    pub used_bytes: u64,
    /// What it may take.
    pub quota_bytes: u64,
    /// The browser deletes nothing of it when the disk runs short.
    pub is_kept: bool,
}

/// Called when areas have changed.
pub type OnChange = Box<dyn Fn(Areas)>;

/// Runs an act now, with all that follows of it. Returns where the focus goes.
pub type Run = Rc<dyn Fn(Act) -> Option<Focus>>;

/// How a page comes to life in a browser.
#[derive(Clone)]
pub struct OpenBrowser {
    /// Who edits here.
    pub author: Person,
    /// Opens the model's device for that author, and drives the model from then on.
    pub open: fn(Person, SharedModel, OnChange) -> Run,
}
