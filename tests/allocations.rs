//! How often protover asks for memory: unlike time, the same on every machine. A process of its own,
//! since the counting allocator is global.

use std::hint::black_box;

use protover::syncml::{self, header::Encoding};

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
