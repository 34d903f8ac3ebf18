use super::*;

const XML: &str = concat!(
    "<?xml version=\"1.0\"?>\n<SyncML xmlns='SYNCML:SYNCML1.2'><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>",
    "<SessionID>1</SessionID><MsgID>1</MsgID><Target><LocURI>http://dm.example/</LocURI></Target><Source><LocURI>IMEI:1</LocURI>",
    "</Source></SyncHdr><SyncBody><Alert><CmdID>1</CmdID><Data>1201</Data></Alert><Final/></SyncBody></SyncML>",
);

/// Package 1 with a literal in the string table, a binary value and a DevInf document inside.
const WBXML: &[u8] = b"\x02\xA4\x01\x6A\x07IMEI:1\0\x6D\x6C\x71\x031.2\0\x01\x72\x03DM/1.2\0\x01\x65\x031\0\x01\x5B\x031\0\x01\
\x6E\x57\x03http://dm.example/\0\x01\x01\x67\x57\x83\0\x01\x01\x5A\0\x01\x4C\x035000\0\x01\x01\0\0\x01\
\x6B\x46\x4B\x031\0\x01\x4F\x031201\0\x01\x01\x62\x4B\x032\0\x01\x54\x4F\xC3\x03\x01\x02\x03\x01\x01\
\x54\x4F\xC3\x0E\x02\xA4\x03\x6A\0\x4A\x65\x031.2\0\x01\x01\x01\x01\x01\x12\x01\x01";

#[test]
fn xml_is_summed_up() {
    insta::assert_snapshot!(inspect(XML.as_bytes(), false).unwrap(), @r#"
    SyncML in xml, 339 bytes
      VerProto    DM/1.2
      VerDTD      1.2
      SessionID   1
      MsgID       1
      Target      http://dm.example/
      Source      IMEI:1
      started by  the client (Alert 1201)
      commands    Alert, Final
    "#);
}

#[test]
fn wbxml_is_shown_as_xml_with_places() {
    insta::assert_snapshot!(inspect(WBXML, false).unwrap(), @r#"
    SyncML in wbxml, 141 bytes
      VerProto    DM/1.2
      VerDTD      1.2
      SessionID   1
      MsgID       1
      Target      http://dm.example/
      Source      IMEI:1
      MaxMsgSize  5000
      started by  the client (Alert 1201)
      commands    Alert, Results, Final

    000000  <!-- WBXML 1.2, SyncML, public id 0x1201, charset UTF-8, string table 7 bytes -->
    00000c  <SyncML>
    00000d    <SyncHdr>
    00000e      <VerDTD>1.2</VerDTD>
    000015      <VerProto>DM/1.2</VerProto>
    00001f      <SessionID>1</SessionID>
    000024      <MsgID>1</MsgID>
    000029      <Target>
    00002a        <LocURI>http://dm.example/</LocURI>
    000040      </Target>
    000041      <Source>
    000042        <LocURI>IMEI:1</LocURI>
    000046      </Source>
    000047      <Meta>
    00004a        <MaxMsgSize xmlns="syncml:metinf">5000</MaxMsgSize>
    000052      </Meta>
    000055    </SyncHdr>
    000056    <SyncBody>
    000057      <Alert>
    000058        <CmdID>1</CmdID>
    00005d        <Data>1201</Data>
    000065      </Alert>
    000066      <Results>
    000067        <CmdID>2</CmdID>
    00006c        <Item>
    00006d          <Data><!-- 3 bytes: 01 02 03 --></Data>
    000074        </Item>
    000075        <Item>
    000076          <Data>
    000079            <!-- WBXML 1.2, DevInf, public id 0x1203, charset UTF-8, string table 0 bytes -->
    00007e            <DevInf xmlns="syncml:devinf">
    00007f              <VerDTD>1.2</VerDTD>
    000086            </DevInf>
    000087          </Data>
    000088        </Item>
    000089      </Results>
    00008a      <Final/>
    00008b    </SyncBody>
    00008c  </SyncML>
    "#);
}

#[test]
fn wbxml_is_shown_token_by_token() {
    insta::assert_snapshot!(inspect(WBXML, true).unwrap(), @r#"
    SyncML in wbxml, 141 bytes
      VerProto    DM/1.2
      VerDTD      1.2
      SessionID   1
      MsgID       1
      Target      http://dm.example/
      Source      IMEI:1
      MaxMsgSize  5000
      started by  the client (Alert 1201)
      commands    Alert, Results, Final

    000000  02                         version 1.2
    000001  A4 01                      public id 0x1201
    000003  6A                         charset UTF-8
    000004  07                         string table, 7 bytes
    000005  49 4D 45 49 3A 31            0: "IMEI:1"
    00000c  6D                         <SyncML>
    00000d  6C                           <SyncHdr>
    00000e  71                             <VerDTD>
    00000f  03 31 2E 32 00                   STR_I "1.2"
    000014  01                             END VerDTD
    000015  72                             <VerProto>
    000016  03 44 4D 2F 31 2E 32 00          STR_I "DM/1.2"
    00001e  01                             END VerProto
    00001f  65                             <SessionID>
    000020  03 31 00                         STR_I "1"
    000023  01                             END SessionID
    000024  5B                             <MsgID>
    000025  03 31 00                         STR_I "1"
    000028  01                             END MsgID
    000029  6E                             <Target>
    00002a  57                               <LocURI>
    00002b  03 68 74 74 70 3A 2F 2F …          STR_I "http://dm.example/"
    00003f  01                               END LocURI
    000040  01                             END Target
    000041  67                             <Source>
    000042  57                               <LocURI>
    000043  83 00                              STR_T "IMEI:1"
    000045  01                               END LocURI
    000046  01                             END Source
    000047  5A                             <Meta>
    000048  00 01                            SWITCH_PAGE 1
    00004a  4C                               <MaxMsgSize>
    00004b  03 35 30 30 30 00                  STR_I "5000"
    000051  01                               END MaxMsgSize
    000052  01                             END Meta
    000053  00 00                          SWITCH_PAGE 0
    000055  01                           END SyncHdr
    000056  6B                           <SyncBody>
    000057  46                             <Alert>
    000058  4B                               <CmdID>
    000059  03 31 00                           STR_I "1"
    00005c  01                               END CmdID
    00005d  4F                               <Data>
    00005e  03 31 32 30 31 00                  STR_I "1201"
    000064  01                               END Data
    000065  01                             END Alert
    000066  62                             <Results>
    000067  4B                               <CmdID>
    000068  03 32 00                           STR_I "2"
    00006b  01                               END CmdID
    00006c  54                               <Item>
    00006d  4F                                 <Data>
    00006e  C3 03 01 02 03                       OPAQUE 3 bytes <!-- 3 bytes: 01 02 03 -->
    000073  01                                 END Data
    000074  01                               END Item
    000075  54                               <Item>
    000076  4F                                 <Data>
    000077  C3 0E 02 A4 03 6A 00 4A …            OPAQUE 14 bytes <!-- 14 bytes: 02 A4 03 6A 00 4A 65 03 31 2E 32 00 01 01 -->
    000087  01                                 END Data
    000088  01                               END Item
    000089  01                             END Results
    00008a  12                             <Final/>
    00008b  01                           END SyncBody
    00008c  01                         END SyncML
    "#);
}

#[test]
fn hex_and_base64_are_taken_apart() {
    let shown = inspect(WBXML, false).unwrap();
    let pairs: Vec<String> = WBXML.iter().map(|byte| format!("{byte:02x}")).collect();
    for text in [pairs.concat(), pairs.join(" "), pairs.join(":"), pairs.iter().map(|pair| format!("0x{pair}, ")).collect()] {
        assert_eq!(inspect(text.as_bytes(), false).unwrap(), format!("captured as hex, {} bytes\n{shown}", WBXML.len()));
    }
    let mut base64 = general_purpose::STANDARD.encode(WBXML);
    base64.insert(60, '\n');
    assert_eq!(inspect(base64.as_bytes(), false).unwrap(), format!("captured as base64, {} bytes\n{shown}", WBXML.len()));
    let url_safe = general_purpose::URL_SAFE_NO_PAD.encode(WBXML);
    assert!(inspect(url_safe.as_bytes(), false).is_ok());
}

#[test]
fn what_cannot_be_shown_is_said_in_one_line() {
    let cases: [(&[u8], &str); 8] = [
        (b"\x03\x0B\x6A\0\x45", "no complete provisioning document: truncated at byte 5"),
        (b"<?xml version='1.0'?><wap-provisioningdoc>", "no complete provisioning document: truncated at byte 42"),
        (b"", "neither SyncML XML nor WBXML, nor either of them as hex or base64"),
        (b"hello, world", "neither SyncML XML nor WBXML, nor either of them as hex or base64"),
        (b"ffff", "neither SyncML XML nor WBXML, captured as hex"),
        (b"<html/>", "no SyncML message in XML: the root is not SyncML at byte 0"),
        (&XML.as_bytes()[..330], "no complete message: truncated at byte 330"),
        (&WBXML[..100], "no complete message: truncated at byte 100"),
    ];
    for (bytes, why) in cases {
        assert_eq!(inspect(bytes, false).unwrap_err().why, why);
    }
    let cut = inspect(&WBXML[..100], false).unwrap_err();
    assert!(cut.shown.contains("<VerProto>DM/1.2</VerProto>"), "what there is, is shown: {}", cut.shown);
}

#[test]
fn a_notification_is_shown_field_by_field() {
    let notification = [[0xAA; 16].as_slice(), b"\x02\xF8\0\0\0\x12\x37\x09srvid.com"].concat();
    let shown = inspect(&notification, false).unwrap();
    for line in ["version      11 (1.1)", "ui-mode      user-interaction", "session      1237", "server-id    srvid.com"] {
        assert!(shown.contains(line), "{shown}");
    }
    let hex: String = notification.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(inspect(hex.as_bytes(), false).unwrap().ends_with(&shown));
}

#[test]
fn whatever_the_file_holds_nothing_steers_the_terminal() {
    let steering = XML.replace("IMEI:1", "&#x9;&#xA;\u{9b}2J");
    let shown = inspect(steering.as_bytes(), false).unwrap();
    assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
}
