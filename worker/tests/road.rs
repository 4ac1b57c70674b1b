//! Both roads on memory parts, with a fault at each station, and for each promise a control that breaks it.

#![expect(clippy::disallowed_methods, reason = "tests read fixtures and the clock")]

mod wait;

mod road {
    pub mod cursor;
    pub mod process;
    pub mod produce;
    pub mod run;
}
