//! API, console, intake and dispatcher.
