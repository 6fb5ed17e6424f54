"""Formats of JSON Schema: what their grammars allow and what they do not, where jsonschema alone is laxer."""

import json

import pytest

from trl_copd.rewards.json_schema import verify_json


# For each format: texts that have it, and texts that do not. The first refusals of a row are those that jsonschema
# alone lets pass: a line break at the end, hyphens anywhere, units out of order, digits of other scripts
FORMATS = {
    "uuid": (
        ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6", "0" * 8 + "-0000" * 3 + "-" +
         "0" * 12],
        ["f81d4fae-7dec-11d0-a765-00a0c91e-bf6", "f81d-4fae-7dec-11d0-a765-00a0c91e6bf6",
         "f81d4fae-7dec-11d0-a765-00a0c91e6bf6-", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6\n",
         "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}", "f81d4fae7dec11d0a76500a0c91e6bf6", "", "no"],
    ),
    "date-time": (
        ["2024-02-29T23:59:59Z", "2024-01-01t00:00:00z", "2024-01-01T00:00:00.123456789+05:30",
         "1998-12-31T23:59:60Z", "1998-12-31T15:59:60.5-08:00"],
        ["2024-01-01T00:00:00Z\n", "2024-01-01T00:00:00", "2024-01-01 00:00:00Z", "2023-02-29T00:00:00Z",
         "2024-01-01T24:00:00Z", "2024-01-01T12:00:60Z", "2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+0530",
         "2024-1-1T00:00:00Z", "２０２４-01-01T00:00:00Z", "2024-01-01T00:00Z", "2024-01-01T00:00:00.Z"],
    ),
    "date": (
        ["2024-02-29", "0001-01-01", "1999-12-31"],
        ["2024-02-29\n", "2023-02-29", "2024-13-01", "2024-00-10", "20240229", "2024-2-29", "2024-W09-4",
         "２０２４-02-29"],
    ),
    "time": (
        ["12:00:00Z", "23:59:60Z", "00:00:00+00:00", "08:30:06.283185Z"],
        ["12:00:00Z\n", "12:00:00", "24:00:00Z", "12:60:00Z", "22:59:60Z", "8:30:06Z", "12:00:00 Z", "12:00:00+25:00"],
    ),
    "duration": (
        ["P1D", "PT36H", "P1Y2M3D", "P1DT2H", "P2W", "PT0S", "P4DT12H30M5S", "PT1H2M"],
        ["P1D2T3H", "P1D2H", "P1DT", "P", "PT", "P2D1Y", "P1Y2W", "PT1D", "P1", "1D", "-P1D", "P1D\n", "P১D", "P1.5D",
         "PT1H5S", "P1Y5D"],
    ),
    "hostname": (
        ["example.com", "localhost", "a.b-c.d", "1.example", "xn--4gbwdl.xn--wgbh1c", "a" * 63 + ".com"],
        ["example.com\n", "-a.com", "a-.com", "a..com", ".com", "a_b.com", "a b.com", "a" * 64 + ".com", "exämple.com",
         ".".join(["a" * 50] * 6), "ex--ample.com", "xn--X", ""],
    ),
    "email": (
        ["rex@example.com", "r.e+x@a.example.com", "~@example.com"],
        ["rex@example.com\n", "rex@", "@example.com", "a@b", "a..b@example.com", ".a@example.com", "a b@example.com",
         "a@b@example.com", "a" * 65 + "@example.com", "a@-example.com"],
    ),
    "idn-email": (["실례@실례.테스트", "rex@example.com"], ["@", "a@", "@b.c", "a b@example.com", "a@b c.com",
                                                            "a@b\n"]),
    "ipv4": (["127.0.0.1", "255.255.255.255"], ["127.0.0.1\n", "256.0.0.1", "127.0.0", "1.2.3.04", "1.2.3.4.5",
                                               "１.2.3.4"]),
    "ipv6": (["::1", "2001:db8::8a2e:370:7334"], ["::1\n", ":::1", "1::1::1", "12345::", "fe80::1%eth0", "1.2.3.4"]),
    "uri": (["https://example.com/a?b=c#d", "urn:isbn:1"], ["https://a.b\n", "//a/b", "a", "http://a b", "http://a/<b>"]),
    "json-pointer": (["", "/a/b~0c~1d", "/a\nb"], ["a", "/a~2", "/a~", "#/a"]),
    "relative-json-pointer": (["0", "1/a", "2#"], ["/a", "01/a", "0##", "-1/a", "+1/a", "1\n", "٣/a"]),
    "regex": (["^a+$", "a\nb", ""], ["(", "[a", "*"]),
}  # fmt: skip


def grade(name, text):
    return verify_json(json.dumps(text), {"type": "string", "format": name}).passed


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name):
    right, wrong = FORMATS[name]
    assert [text for text in right if grade(name, text) is not True] == []
    assert [text for text in wrong if grade(name, text) is not False] == []


# A format says nothing about other types, nor about what no draft defines; drafts keep their own words
def test_other_types_and_drafts():
    assert verify_json("5", {"format": "uuid"}).passed is True
    assert verify_json('"x"', {"type": "string", "format": "phone"}).passed is True
    draft3 = {"$schema": "http://json-schema.org/draft-03/schema#", "format": "time", "type": "string"}
    assert (verify_json('"12:00:00"', draft3).passed, verify_json('"12:00"', draft3).passed) == (True, False)
    draft4 = {"$schema": "http://json-schema.org/draft-04/schema#", "format": "date-time", "type": "string"}
    assert verify_json('"2024-01-01T00:00:00Z\\n"', draft4).passed is False
