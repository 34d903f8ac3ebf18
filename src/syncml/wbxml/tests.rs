use super::*;

#[test]
fn placeholder() {
    assert!(scan(b"").is_err());
}
