"""What DM devices and DM servers say to each other, for the scripts that run protover: `tests/instructions` counts what it
costs, and `dist/build` makes the profile of it."""

import os, re, socket, threading
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
XML, WBXML = "application/vnd.syncml.dm+xml", "application/vnd.syncml.dm+wbxml"
DEVICE, SERVER = "IMEI:490154203237518", "https://dm.example/dm"
# What becomes of a message: by the version it declares, and the host it is sent to, which is a site of `sites`.
KINDS = {kind: ("DM/1.2", f"{kind}.example") for kind in ("pass", "advise", "bridge")} | {"refuse": ("DM/9.9", "advise.example")}


def message(dtd, version, target, source, body, session=1, number=1, resp_uri=""):
    resp_uri = resp_uri and f"<RespURI>{resp_uri}</RespURI>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><SyncML xmlns="SYNCML:SYNCML{dtd}"><SyncHdr><VerDTD>{dtd}</VerDTD><VerProto>'
        f"{version}</VerProto><SessionID>{session}</SessionID><MsgID>{number}</MsgID><Target><LocURI>{target}</LocURI></Target>"
        f'<Source><LocURI>{source}</LocURI></Source>{resp_uri}<Meta><MaxMsgSize xmlns="syncml:metinf">16384</MaxMsgSize></Meta>'
        f"</SyncHdr><SyncBody>{body}<Final/></SyncBody></SyncML>"
    ).encode()


META = '<Meta><Format xmlns="syncml:metinf">chr</Format><Type xmlns="syncml:metinf">text/plain</Type></Meta>'


def replaces(numbers):
    return "".join(
        f"<Replace><CmdID>{n}</CmdID><Item><Source><LocURI>./DevInfo/Node{n}</LocURI></Source>{META}<Data>value {n}</Data></Item></Replace>"
        for n in numbers
    )


# Of a device, and of a server, in messages of 2 KB.
COMMANDS = "<Alert><CmdID>1</CmdID><Data>1201</Data></Alert>" + replaces(range(2, 8))
STATUSES = "".join(
    f"<Status><CmdID>{n}</CmdID><MsgRef>1</MsgRef><CmdRef>{n - 1}</CmdRef><Cmd>{'Replace' if n > 1 else 'SyncHdr'}</Cmd><TargetRef>"
    f"{SERVER}</TargetRef><SourceRef>{DEVICE}</SourceRef><Data>{200 if n > 1 else 212}</Data></Status>"
    for n in range(1, 8)
)


def tokens():
    """Code pages and tokens of WBXML by the names of elements, from where protover has them."""
    with open(f"{ROOT}/src/syncml/element.rs") as source:
        rows = re.findall(r"^    (\w+) = ([01]) (0x\w\w) since", source.read(), re.MULTILINE)
    return {name: (int(page), int(token, 16)) for name, page, token in rows}


def wbxml(text):
    """A message in WBXML 1.2: UTF-8, without a string table."""
    known, root = tokens(), xml.etree.ElementTree.fromstring(text)
    public_id = {"SYNCML:SYNCML1.1": b"\x9f\x53", "SYNCML:SYNCML1.2": b"\xa4\x01"}[root.tag[1:].partition("}")[0]]
    out, now = bytearray(b"\x02" + public_id + b"\x6a\x00"), 0

    def write(element):
        nonlocal now
        page, token = known[element.tag.rpartition("}")[2]]
        if page != now:
            out.extend((0x00, page))
            now = page
        filled = element.text or len(element)
        out.append(token | (0x40 if filled else 0))
        if element.text:
            out.extend(b"\x03" + element.text.encode() + b"\x00")
        for child in element:
            write(child)
        if filled:
            out.append(0x01)

    write(root)
    return bytes(out)


def encoded(text, kind):
    return text if kind == XML else wbxml(text)


def receive(stream):
    """The next message of HTTP, head and body; nothing at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return None
        head += line
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        while size := int(stream.readline(), 16):
            head += stream.read(size)
            stream.readline()
        stream.readline()
        return head
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head + stream.read(int(length[1]) if length else 0)


def request(host, body, kind=XML, path="/dm"):
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: device/1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def response(body, kind=XML):
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def exchange(stream, sent):
    """Sends a request, and takes its answer, which has to be a good one."""
    stream.write(sent)
    stream.flush()
    answer = receive(stream)
    if not answer or not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"{sent[:300]!r} is answered with {answer and answer[:300]!r}")
    return answer


def server(answer):
    """A DM server, with a function from request to response; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        stream = connection.makefile("rwb")
        try:
            while received := receive(stream):
                stream.write(answer(received))
                stream.flush()
        except ConnectionError:
            # protover ended, as it does when something else failed.
            pass

    def accept():
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return "%s:%d" % listener.getsockname()


def sites(folder, new, old):
    """Writes policies for the hosts of KINDS, with one server that speaks DM 1.2 and one that speaks DM 1.1."""
    for name, recommend, speaks, then, upstream in [
        ("pass", "DM/1.2", '["DM/1.2"]', "refuse", new),
        ("advise", "DM/1.3", '["DM/1.2", "DM/1.3"]', "refuse", new),
        ("bridge", "DM/1.1", '["DM/1.1"]', "bridge", old),
    ]:
        with open(f"{folder}/{name}.toml", "w") as file:
            file.write(
                f'[site]\nname = "{name}"\nhosts = ["{name}.example"]\nrecommend = "{recommend}"\n[unsupported]\nthen = "{then}"\n'
                f'[[server]]\nname = "dm"\nurl = "http://{upstream}"\nspeaks = {speaks}\n'
                '[hint]\ncarriers = ["http-header", "status-item"]\n'
            )
