//! How often protover asks for memory, and how much it keeps: unlike time, the same on every machine. A
//! process of its own, since the counting allocator is global.

use std::{hint::black_box, time::Duration};

use futures_util::FutureExt;
use protover::{
    decisions::{Kind, Log},
    policy::{
        self,
        reason::{Reason, Verdict},
    },
    store,
    syncml::{
        self,
        header::Encoding,
        version::{Declared, Version},
    },
    telemetry::Metrics,
};

#[test]
fn a_header_scan_of_4_kb_allocates_at_most_8_times() {
    let commands: String = (2..60)
        .map(|id| format!("<Replace><CmdID>{id}</CmdID><Item><Source><LocURI>./N{id}</LocURI></Source></Item></Replace>"))
        .collect();
    let raw = format!(
        "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>1</SessionID>\
         <MsgID>1</MsgID><Target><LocURI>http://dm</LocURI></Target><Source><LocURI>IMEI:1</LocURI></Source>\
         <Meta><MaxMsgSize xmlns=\"syncml:metinf\">16384</MaxMsgSize></Meta></SyncHdr><SyncBody>{commands}<Final/></SyncBody></SyncML>"
    );
    assert!(raw.len() > 4096);
    let counted = allocation_counter::measure(|| {
        black_box(syncml::scan(Encoding::Xml, black_box(raw.as_bytes()))).unwrap();
    });
    println!("{counted:?}");
    assert!(counted.count_total <= 8, "{counted:?}");
}

#[test]
fn a_million_values_stay_within_the_size_of_the_memory_store() {
    const SIZE: usize = 16 << 20;
    let store = store::open(&policy::site::Store::Memory { size: SIZE }).unwrap();
    let counted = allocation_counter::measure(|| {
        for n in 0..1_000_000 {
            let (key, value) = (format!("operator/IMEI:{n:015}/1F"), vec![b'v'; 200]);
            let put = store.put(&key, value.into(), Duration::from_secs(600));
            put.now_or_never().unwrap().unwrap();
        }
    });
    println!("{counted:?}");
    assert!(store.get("operator/IMEI:000000000999999/1F", None).now_or_never().unwrap().unwrap().is_some());
    let most = usize::try_from(counted.bytes_max).unwrap();
    assert!((SIZE / 2..SIZE + SIZE / 8).contains(&most), "{most} of {SIZE}");
}

#[test]
fn counting_a_decision_allocates_nothing_after_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let decisions =
        policy::site::Decisions { to: policy::site::DecisionsTo::File(folder.path().join("log")), ..Default::default() };
    let log = Log::start(&decisions).unwrap();
    let metrics = Metrics::default();
    let mut open = log.open("devices".into(), ([192, 0, 2, 7], 49152).into(), Kind::Message);
    open.site = Some("operator".into());
    open.server = Some("dm".into());
    open.declared = Some(Declared::Known(Version::DM_1_2));
    open.upstream = Some(Duration::from_millis(3));
    open.store = Some("degraded");
    open.syncml_status = Some(513);
    (open.verdict, open.reason) = (Verdict::Refuse, Reason::UnsupportedVersion);
    let count = || allocation_counter::measure(|| metrics.decided(&open, Duration::from_millis(4))).count_total;
    assert!(count() > 0, "the first makes room for its samples");
    assert_eq!(count(), 0);
    open.declared = Some(Declared::Unrecognised("DM/9.9".into()));
    let count = || allocation_counter::measure(|| metrics.decided(&open, Duration::from_millis(4))).count_total;
    count();
    assert_eq!(count(), 0, "nor for what is not recognised");
    open.finish();
}
