//! Tests of the whole, from the outside.

mod cli;
