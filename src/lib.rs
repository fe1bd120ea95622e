//! Keybook: a shared dictionary that many people and programs edit at once.
