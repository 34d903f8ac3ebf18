//! Whole exchanges over real sockets, one at a time: what each verdict costs. The client and the server, on
//! threads of their own, are in the figure.

#[path = "../exchange/mod.rs"]
mod exchange;

use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use exchange::{Exchange, KINDS};

fn exchanges(criterion: &mut Criterion) {
    let exchange = Exchange::start();
    let mut group = criterion.benchmark_group("exchange");
    for kind in KINDS {
        group.bench_function(kind.0, |bencher| {
            bencher.iter_custom(|count| {
                let began = Instant::now();
                exchange.run(kind, count);
                began.elapsed()
            });
        });
    }
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
