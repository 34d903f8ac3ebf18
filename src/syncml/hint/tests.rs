use bytes::Bytes;

use super::*;
use crate::syncml::{check, header::Encoding, scan};

fn message(meta: &str, body: &str) -> String {
    format!(
        "<SyncML><SyncHdr><VerDTD>1.1</VerDTD><VerProto>DM/1.1</VerProto><SessionID>1</SessionID><MsgID>2</MsgID>\
         <Target><LocURI>IMEI:1</LocURI></Target><Source><LocURI>http://dm</LocURI></Source>{meta}</SyncHdr>\
         <SyncBody>{body}<Final/></SyncBody></SyncML>"
    )
}

fn hinted(raw: &str, hint: fn(&[u8], &HeaderIndex, Version) -> Option<Edits>) -> Option<String> {
    let index = scan(Encoding::Xml, raw.as_bytes()).unwrap();
    let out = hint(raw.as_bytes(), &index, Version::DM_1_3)?.apply(&Bytes::copy_from_slice(raw.as_bytes()));
    let index = scan(Encoding::Xml, &out).unwrap();
    check(&out, &index).unwrap();
    Some(String::from_utf8(out.to_vec()).unwrap())
}

const STATUS: &str = "<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>0</CmdRef><Cmd>SyncHdr</Cmd><Data>212</Data></Status>";
const OTHER: &str = "<Status><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>1</CmdRef><Cmd>Alert</Cmd><Data>200</Data></Status>";

#[test]
fn the_item_follows_the_data_of_the_headers_status() {
    let expected = STATUS.replace("</Status>", "<Item><Data>DM/1.3</Data></Item></Status>");
    assert_eq!(hinted(&message("", &[STATUS, OTHER].concat()), status_item).unwrap(), message("", &[&*expected, OTHER].concat()));
    assert_eq!(hinted(&message("", &[OTHER, STATUS].concat()), status_item).unwrap(), message("", &[OTHER, &*expected].concat()));
    let spaced = STATUS.replace("><", ">\r\n\t<");
    let out = hinted(&message("", &spaced), status_item).unwrap();
    assert!(out.contains("</Data><Item><Data>DM/1.3</Data></Item>\r\n\t</Status>"), "{out}");
}

#[test]
fn it_stays_behind_other_items_and_before_what_follows_them() {
    let with = STATUS.replace("</Status>", "<Item><Data>x</Data></Item><Correlator>c</Correlator></Status>");
    let out = hinted(&message("", &with), status_item).unwrap();
    assert!(out.contains("<Item><Data>x</Data></Item><Item><Data>DM/1.3</Data></Item><Correlator>"), "{out}");
}

#[test]
fn it_wears_the_prefix_of_its_status() {
    let raw = message("", STATUS)
        .replace("<", "<s:")
        .replace("<s:/", "</s:")
        .replace("<s:SyncML>", "<s:SyncML xmlns:s='SYNCML:SYNCML1.1'>");
    assert!(hinted(&raw, status_item).unwrap().contains("<s:Item><s:Data>DM/1.3</s:Data></s:Item></s:Status>"));
}

#[test]
fn no_item_where_it_cannot_or_need_not_be() {
    let said = STATUS.replace("</Status>", "<Item><Data>DM/1.3</Data></Item></Status>");
    for body in [OTHER, "", &*said] {
        assert_eq!(hinted(&message("", body), status_item), None);
    }
    let cut = |at: &str| {
        let whole = message("", STATUS);
        let truncated = &whole[..whole.find(at).unwrap()];
        let index = scan(Encoding::Xml, truncated.as_bytes()).unwrap();
        status_item(truncated.as_bytes(), &index, Version::DM_1_3).is_some()
    };
    assert!(!cut("</Status>"), "cut off in the Status");
    assert!(cut("</SyncML>"), "what is behind it is as it was");
}

#[test]
fn the_emi_goes_into_meta_and_makes_one_where_there_is_none() {
    let emi = "<EMI xmlns=\"syncml:metinf\">DM-Recommended-Version=DM/1.3</EMI>";
    for (meta, expected) in [
        ("", format!("<Meta>{emi}</Meta>")),
        ("<Meta/>", format!("<Meta>{emi}</Meta>")),
        ("<Meta></Meta>", format!("<Meta>{emi}</Meta>")),
        (
            "<Meta><MaxMsgSize xmlns='syncml:metinf'>9</MaxMsgSize></Meta>",
            format!("<Meta><MaxMsgSize xmlns='syncml:metinf'>9</MaxMsgSize>{emi}</Meta>"),
        ),
    ] {
        let out = hinted(&message(meta, STATUS), header_meta).unwrap();
        assert_eq!(out, message(&expected, STATUS));
        assert_eq!(hinted(&out, header_meta), None, "once is enough");
    }
}
