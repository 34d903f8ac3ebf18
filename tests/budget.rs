//! How often protover asks for memory for one request, from its first byte to the line in the log: unlike
//! time, the same on every machine. A process of its own, since the counting allocator is global.

mod exchange;

use exchange::{Exchange, KINDS};

/// The most allocations for a request of each kind. They may fall, and then these numbers with them.
const BUDGET: [(&str, u64); 4] = [("pass", 46), ("advise", 60), ("bridge", 72), ("refuse", 41)];

#[test]
fn a_request_allocates_no_more_than_its_budget() {
    const COUNT: u64 = 200;
    let exchange = Exchange::start();
    let mut over = Vec::new();
    for (kind, (name, budget)) in KINDS.into_iter().zip(BUDGET) {
        assert_eq!(kind.0, name);
        exchange.run(kind, 50);
        let counted = allocation_counter::measure(|| exchange.run(kind, COUNT));
        let (each, bytes) = (counted.count_total.div_ceil(COUNT), counted.bytes_total / COUNT);
        println!("{name}: {each} allocations, {bytes} bytes");
        if each > budget {
            over.push(format!("{name}: {each} allocations, {budget} are allowed"));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}
