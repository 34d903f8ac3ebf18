//! What a line of the decision log costs whoever has it to write.

use std::{sync::Arc, thread, time::Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protover::{
    decisions::{Kind, Log},
    policy::{
        facts::Integrity,
        reason::{Reason, Requirement, Verdict},
        site::{Decisions, DecisionsTo, DeviceIds, Mode},
    },
    syncml::{
        header::Encoding,
        version::{Declared, Version},
    },
};

/// A line as the proxy fills it in.
fn line(log: &Log, listener: &Arc<str>) {
    let mut open = log.open(Arc::clone(listener), ([192, 0, 2, 7], 49152).into(), Kind::Message);
    open.site = Some(Arc::clone(listener));
    open.server = Some(Arc::clone(listener));
    open.policy = Some(Arc::clone(listener));
    open.mode = Some(Mode::Enforce);
    open.device = Some(log.pii("IMEI:493005100592800"));
    open.session = Some("1F".into());
    open.message = Some("1".into());
    open.encoding = Some(Encoding::Xml);
    open.integrity = Some(Integrity::None);
    open.declared = Some(Declared::Known(Version::DM_1_2));
    open.declared_dtd = Some("1.2".into());
    open.used = Some(Version::DM_1_2);
    open.recommended = Some(Version::DM_1_3);
    open.supported = [Version::DM_1_3, Version::DM_1_2].into();
    open.verdict = Verdict::Advise;
    open.reason = Reason::SupportedNotRecommended;
    open.requirement = Some(Requirement::Server2);
    open.hints = vec!["http-header"];
    open.http_status = Some(200);
    open.bytes_in = 2048;
    open.finish();
}

fn log(device: DeviceIds, to: DecisionsTo) -> Log {
    Log::start(&Decisions { device, to, ..Decisions::default() }).expect("the log starts")
}

fn lines(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let listener: Arc<str> = "devices".into();
    let mut group = criterion.benchmark_group("decision line");
    group.throughput(Throughput::Elements(1));
    let null = || DecisionsTo::File("/dev/null".into());
    for (name, device, to) in [
        ("plain, nowhere", DeviceIds::Plain, null()),
        ("hash, nowhere", DeviceIds::Hash, null()),
        ("plain, file", DeviceIds::Plain, DecisionsTo::File(folder.path().join("log"))),
    ] {
        let log = log(device, to);
        group.bench_function(name, |bencher| bencher.iter(|| line(&log, &listener)));
        log.flush();
        assert_eq!(log.lost(), 0, "{name}");
    }
    let log = log(DeviceIds::Plain, null());
    group.bench_function("plain, nowhere, from 4 threads", |bencher| {
        bencher.iter_custom(|lines| {
            let start = Instant::now();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..lines.div_ceil(4)).for_each(|_| line(&log, &listener)));
                }
            });
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, lines);
criterion_main!(benches);
