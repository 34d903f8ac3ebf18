//! Policy: from the facts about a request to what is done with it. Pure: no sockets, no files, no clock.

pub mod decision;
pub mod facts;
pub mod reason;
pub mod site;
