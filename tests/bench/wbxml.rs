//! How long it takes to read a header in WBXML. The goal for a message of 2 KB is below one microsecond.
#![allow(missing_docs, reason = "criterion's macros write functions without")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protover::syncml::{self, header::Encoding};

/// A package 1 of about 2 KB: DevInfo, as phones send it, with a string table.
fn package_1() -> Vec<u8> {
    let mut raw = b"\x02\xA4\x01\x6A\x34IMEI:000000011234564\0http://dm.example.com/Manage\0xy\x6D\x6C".to_vec();
    raw.extend_from_slice(b"\x71\x031.2\0\x01\x72\x03DM/1.2\0\x01\x65\x0312463\0\x01\x5B\x031\0\x01");
    raw.extend_from_slice(b"\x6E\x57\x83\x15\x01\x01\x67\x57\x83\0\x01\x56\x03SampleClient\0\x01\x01");
    raw.extend_from_slice(
        b"\x4E\x5A\0\x01\x47\x03b64\0\x01\x53\x03syncml:auth-md5\0\x01\x01\0\0\x4F\x03Mkxpb1lHdTJzZ0ZqZGc9PQ==\0\x01\x01",
    );
    raw.extend_from_slice(
        b"\x5A\0\x01\x4C\x035000\0\x01\x01\0\0\x01\x6B\x46\x4B\x031\0\x01\x4F\x031201\0\x01\x01\x60\x4B\x032\0\x01",
    );
    while raw.len() < 2048 {
        raw.extend_from_slice(b"\x54\x67\x57\x03./DevInfo/DevId\0\x01\x01\x4F\x03IMEI:000000011234564\0\x01\x01");
    }
    raw.extend_from_slice(b"\x01\x12\x01\x01");
    raw
}

fn header(criterion: &mut Criterion) {
    let raw = package_1();
    let index = syncml::scan(Encoding::Wbxml, &raw).expect("a message");
    syncml::check(&raw, &index).expect("a whole message");
    let mut group = criterion.benchmark_group("wbxml");
    group.throughput(Throughput::Bytes(raw.len() as u64));
    group.bench_function("header of 2 KB", |bencher| bencher.iter(|| syncml::scan(Encoding::Wbxml, black_box(&raw))));
    group.bench_function("whole message of 2 KB", |bencher| bencher.iter(|| syncml::check(black_box(&raw), &index)));
    group.bench_function("who started it", |bencher| bencher.iter(|| syncml::started_by(black_box(&raw), &index)));
    group.finish();
}

criterion_group!(benches, header);
criterion_main!(benches);
