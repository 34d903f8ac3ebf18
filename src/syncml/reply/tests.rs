use super::*;
use crate::syncml::{
    bridge::{Crossing, Own},
    check,
    header::Encoding,
    scan,
};

fn request(root: &str, dtd: &str, proto: &str, body: &str) -> String {
    format!(
        "{root}<SyncHdr><VerDTD>{dtd}</VerDTD><VerProto>{proto}</VerProto><SessionID> 0A&amp;</SessionID><MsgID>1</MsgID>\
         <Target><LocURI>http://dm/?a=1&amp;b</LocURI></Target><Source><LocURI>IMEI:1</LocURI></Source></SyncHdr>\
         <SyncBody>{body}<Final/></SyncBody></SyncML>"
    )
}

fn refused(raw: &str, recommended: Option<Version>, supported: &[Version]) -> String {
    let index = scan(Encoding::Xml, raw.as_bytes()).unwrap();
    let table = VersionTable::default();
    let status = Status::PROTOCOL_VERSION_NOT_SUPPORTED;
    read(&refusal(raw.as_bytes(), &index, &Refusal { status, supported, recommended, table: &table }))
}

fn read(answer: &[u8]) -> String {
    let index = scan(Encoding::Xml, answer).unwrap();
    check(answer, &index).unwrap();
    String::from_utf8(answer.to_vec()).unwrap()
}

#[test]
fn the_server_3_answer_to_the_letter() {
    let raw = request("<SyncML xmlns=\"syncml:SYNCML1.2\">", "1.2", "DM/9.9", "");
    assert_eq!(
        refused(&raw, Some(Version::DM_1_2), &[Version::DM_1_2, Version::DM_1_1]),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><SyncML xmlns=\"syncml:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/9.9</VerProto>\
         <SessionID> 0A&amp;</SessionID><MsgID>1</MsgID><Target><LocURI>IMEI:1</LocURI></Target>\
         <Source><LocURI>http://dm/?a=1&amp;b</LocURI></Source></SyncHdr><SyncBody><Status><CmdID>1</CmdID><MsgRef>1</MsgRef>\
         <CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><TargetRef>http://dm/?a=1&amp;b</TargetRef><SourceRef>IMEI:1</SourceRef><Data>513</Data>\
         <Item><Data>DM/1.2</Data></Item><Item><Data>DM/1.1</Data></Item>\
         <Item><Data>Error - unsupported DM protocol version. Recommended version is 1.2</Data></Item></Status><Final/></SyncBody></SyncML>"
    );
}

#[test]
fn versions_that_cannot_be_written_become_the_recommended_ones() {
    let doctype = "<!DOCTYPE SyncML PUBLIC \"-//SYNCML//DTD SyncML 7.0//EN\" \"http://example.com/7.dtd\">";
    for (dtd, proto) in [("1.2", "dm/1.2"), ("1.2", " DM/1.2 "), ("1.2", ""), ("7.0", "DM/1.2"), ("2.0", "DM/2.0")] {
        let raw = request(&format!("{doctype}<SyncML xmlns='SYNCML:SYNCML7.0'>"), dtd, proto, "");
        let answer = refused(&raw, Some(Version::DM_1_1), &[Version::DM_1_1]);
        assert!(answer.contains("<VerDTD>1.1</VerDTD><VerProto>DM/1.1</VerProto>"), "{answer}");
        assert!(answer.contains("<SyncML xmlns=\"SYNCML:SYNCML1.1\">"), "{answer}");
        assert!(answer.contains("<!DOCTYPE SyncML PUBLIC \"-//SYNCML//DTD SyncML 1.1//EN\""), "{answer}");
    }
    assert!(refused(&request("<SyncML>", "1.1", "DM/00.7", ""), None, &[]).contains("<VerProto>DM/00.7</VerProto>"));
}

#[test]
fn a_prefix_is_not_repeated_but_its_name_space_is() {
    let raw = request("<s:SyncML xmlns:s='SYNCML:SYNCML1.1'>", "1.1", "DM/1.1", "")
        .replace("<", "<s:")
        .replace("<s:/", "</s:")
        .replace("<s:s:", "<s:");
    let answer = refused(&raw, Some(Version::DM_1_2), &[Version::DM_1_2]);
    assert!(answer.contains("?><SyncML xmlns=\"SYNCML:SYNCML1.1\"><SyncHdr>"), "{answer}");
}

#[test]
fn data_synchronisation_is_told_about_itself() {
    let answer = refused(&request("<SyncML>", "1.2", "SyncML/1.2", ""), None, &[]);
    assert!(answer.contains("<Item><Data>Error - unsupported DS protocol version.</Data></Item>"), "{answer}");
}

fn obstacle_in(raw: &str) -> (HeaderIndex, Obstacle) {
    let table = VersionTable::default();
    let index = scan(Encoding::Xml, raw.as_bytes()).unwrap();
    let (from, to) = (table.get(Version::DM_1_2).unwrap(), table.get(Version::DM_1_1).unwrap());
    let crossing = Crossing { from, to, lossy: false, own: Own::default() };
    (index, crate::syncml::bridge::bridge(raw.as_bytes(), &index, &crossing).unwrap_err())
}

#[test]
fn a_message_that_cannot_go_is_answered_with_a_status_for_it_and_for_the_command() {
    let raw = request("<SyncML>", "1.2", "DM/1.2", "<Alert><CmdID>4</CmdID><Data>1226</Data></Alert>")
        .replace("<MsgID>1<", "<MsgID>3<");
    let (index, obstacle) = obstacle_in(&raw);
    let answer = read(&cannot_go(raw.as_bytes(), &index, &obstacle));
    assert!(answer.contains("<VerProto>DM/1.2</VerProto>") && answer.contains("<MsgID>3</MsgID>"), "{answer}");
    assert!(
        answer.contains("<CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd>")
            && answer.contains("<Data>406</Data></Status><Status><CmdID>2</CmdID>")
    );
    assert!(answer.contains("<MsgRef>3</MsgRef><CmdRef>4</CmdRef><Cmd>Alert</Cmd><Data>406</Data></Status><Final/>"), "{answer}");
}

#[test]
fn a_server_whose_message_cannot_come_is_answered_in_the_clients_stead() {
    let raw = request("<SyncML>", "1.2", "DM/1.2", "<Exec><CmdID>9</CmdID><Correlator>c</Correlator></Exec>");
    let (index, obstacle) = obstacle_in(&raw);
    let answer = read(&in_the_clients_stead(raw.as_bytes(), &index, Some(&obstacle), "41"));
    assert!(answer.contains("<MsgID>42</MsgID>") && answer.contains("<Data>200</Data></Status>"), "{answer}");
    assert!(answer.contains("<CmdRef>9</CmdRef><Cmd>Exec</Cmd><Data>406</Data></Status>"), "{answer}");
    assert!(answer.contains("<Alert><CmdID>3</CmdID><Data>1223</Data></Alert><Final/>"), "{answer}");
    let client = read(&cannot_come(raw.as_bytes(), &index));
    assert!(client.contains("<Data>502</Data></Status><Final/>"), "{client}");
}

#[test]
fn a_status_is_never_answered_with_a_status() {
    let raw = request("<SyncML>", "1.2", "DM/1.2", "<Status><CmdID>9</CmdID><Correlator>c</Correlator></Status>");
    let (index, obstacle) = obstacle_in(&raw);
    assert_eq!(read(&cannot_go(raw.as_bytes(), &index, &obstacle)).matches("<Status>").count(), 1);
}
