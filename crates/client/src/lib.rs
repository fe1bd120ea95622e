//! A native asynchronous client of Keybook.
