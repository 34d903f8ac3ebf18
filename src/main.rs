//! The command line of protover.

fn main() {}
