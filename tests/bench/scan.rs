//! How long protover looks at a message. Budgets: scan of the header of a 4 KB XML message under 2 µs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protover::syncml::{
    self,
    bridge::{Crossing, Own, bridge},
    header::Encoding,
    hint,
    version::{Version, VersionTable},
};

/// A first message of about `len` bytes.
fn message(len: usize) -> Vec<u8> {
    let header = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD>\
        <VerProto>DM/1.2</VerProto><SessionID>1F</SessionID><MsgID>1</MsgID><Target><LocURI>https://dm.operator.example/dm</LocURI></Target>\
        <Source><LocURI>IMEI:493005100592800</LocURI><LocName>Dolly</LocName></Source><Cred><Meta><Format xmlns=\"syncml:metinf\">b64</Format>\
        <Type xmlns=\"syncml:metinf\">syncml:auth-md5</Type></Meta><Data>18EA3F5D2C6B49A07F1E2D3C4B5A6978</Data></Cred>\
        <Meta><MaxMsgSize xmlns=\"syncml:metinf\">16384</MaxMsgSize><MaxObjSize xmlns=\"syncml:metinf\">1048576</MaxObjSize></Meta></SyncHdr>\
        <SyncBody><Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>212</Data></Status>";
    let mut raw = header.to_owned();
    for command in 2.. {
        if raw.len() + 32 >= len {
            break;
        }
        raw += &format!(
            "<Replace><CmdID>{command}</CmdID><Item><Source><LocURI>./DevInfo/Node{command}</LocURI></Source><Data>value {command}</Data></Item></Replace>"
        );
    }
    (raw + "<Final/></SyncBody></SyncML>").into_bytes()
}

fn benches(criterion: &mut Criterion) {
    let table = VersionTable::default();
    let forms = |version| table.get(version).expect("built in");
    let (old, new) = (forms(Version::DM_1_1), forms(Version::DM_1_2));
    for len in [4096, 20_480] {
        let raw = message(len);
        let index = syncml::scan(Encoding::Xml, &raw).expect("well-formed");
        let mut group = criterion.benchmark_group(format!("xml {} KB", len / 1024));
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function("scan", |bencher| bencher.iter(|| syncml::scan(Encoding::Xml, black_box(&raw))));
        group.bench_function("check", |bencher| bencher.iter(|| syncml::check(black_box(&raw), &index)));
        group.bench_function("hint in Status", |bencher| {
            bencher.iter(|| hint::status_item(black_box(&raw), &index, Version::DM_1_3));
        });
        let down = Crossing { from: new, to: old, lossy: false, own: Own::default() };
        group.bench_function("bridge down", |bencher| bencher.iter(|| bridge(black_box(&raw), &index, &down)));
        let up = Crossing { from: new, to: forms(Version::DM_1_3), lossy: false, own: Own::default() };
        group.bench_function("bridge up", |bencher| bencher.iter(|| bridge(black_box(&raw), &index, &up)));
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
