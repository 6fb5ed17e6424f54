"""`sql_reward` against hand-made rows. The reference query is `NAMES` on `PETS` where nothing else is said."""

import os
import sqlite3

import pytest

from trl_copd.rewards.sql import SQLReward, sql_reward, verify_sql


PETS = """
CREATE TABLE pet(id INTEGER PRIMARY KEY, name TEXT, age INTEGER, weight REAL, born TEXT);
INSERT INTO pet VALUES (1, 'Rex', 3, 10.5, '2020-01-02'), (2, 'Tom', 5, 4.25, '2018-05-06'),
                       (3, 'Tom', 5, 4.25, '2018-05-06'), (4, NULL, NULL, NULL, NULL);
CREATE VIEW old AS SELECT * FROM pet WHERE age > 4;
CREATE VIEW years AS SELECT strftime('%Y', born) AS year FROM pet;
"""
NAMES = "SELECT name, age FROM pet"


def passed(query, gold=NAMES, database=PETS, **options):
    return verify_sql(query, {"solution": gold, "database": database}, **options).passed


class TestResults:
    # The same rows by other means. Names of columns and the order of rows are free
    @pytest.mark.parametrize(
        "query, gold",
        [
            (NAMES, NAMES), ("select p.name as n, p.age from pet p;", NAMES), (f"{NAMES} ORDER BY age DESC", NAMES),
            (f"```sql\n{NAMES} -- all\n;\n```", NAMES), (f"<think>DROP</think>So:\n```SQL\n{NAMES}\n```\nok", NAMES),
            (f"```\n{NAMES}\n```", NAMES), (f"```sql\nSELECT 1\n```\n```sql\n{NAMES}\n```", NAMES),
            (f"/* all */ {NAMES}", NAMES), ("WITH x AS (SELECT * FROM pet) SELECT name, age FROM x", NAMES),
            ("SELECT avg(age) FROM pet", "SELECT sum(age) * 1.0 / count(age) FROM pet"),
            ("SELECT weight / 3 FROM pet", "SELECT weight * (1.0 / 3) FROM pet"),
            ("SELECT sum(age) FROM pet", "SELECT total(age) FROM pet"),  # 13 and 13.0
            ("SELECT strftime('%Y', born) FROM pet", "SELECT substr(born, 1, 4) FROM pet"),
            ("SELECT year FROM years", "SELECT substr(born, 1, 4) FROM pet"),
            ("SELECT printf('%.1f', weight) FROM pet WHERE id = 1", "SELECT '10.5'"),
            ("SELECT count(*) FROM old", "SELECT count(*) FROM pet WHERE age > 4"),
            ("SELECT sum(value) FROM json_each('[1, 2]')", "SELECT 3"), ("VALUES (3)", "SELECT 3"),
            ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 10) SELECT sum(x) FROM c",
             "SELECT 55"),
            # count(*) of a WITH that SQLite works out as a table of its own
            ("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000) SELECT count(*) FROM c",
             "SELECT 100000"),
            ("WITH a AS (SELECT name FROM pet) SELECT count(*) FROM a x, a y", "SELECT 16"),
            ("WITH a AS MATERIALIZED (SELECT 1) SELECT count(1) FROM a, a b", "SELECT 1"),
            ("SELECT rank() OVER (ORDER BY age) FROM pet", "SELECT rank() OVER (ORDER BY age) FROM pet"),
            ("SELECT name FROM pet WHERE name LIKE 't%'", "SELECT name FROM pet WHERE name = 'Tom'"),
            ("SELECT name FROM sqlite_master", "SELECT 'old' UNION ALL VALUES ('pet'), ('years')"),  # no harm in it
        ],
    )  # fmt: skip
    def test_same(self, query, gold):
        assert passed(query, gold) is True

    # Another result: rows, repetitions, columns, their order, types
    @pytest.mark.parametrize(
        "query, gold",
        [
            ("SELECT age, name FROM pet", NAMES), ("SELECT name FROM pet", NAMES), ("SELECT * FROM pet", NAMES),
            ("SELECT DISTINCT name, age FROM pet", NAMES), (f"{NAMES} LIMIT 3", NAMES),
            (f"{NAMES} UNION ALL {NAMES}", NAMES), (f"{NAMES} WHERE age > 0", NAMES),
            ("SELECT name, CAST(age AS TEXT) FROM pet", NAMES), ("SELECT name, coalesce(age, 0) FROM pet", NAMES),
            ("SELECT upper(name), age FROM pet", NAMES), ("SELECT '3'", "SELECT 3"), ("SELECT x'33'", "SELECT '3'"),
            ("SELECT 1.0000001", "SELECT 1"), ("SELECT 9007199254740993", "SELECT 9007199254740992"),
            ("SELECT 1 WHERE 0", NAMES), ("SELECT NULL", "SELECT 0"), ("SELECT ''", "SELECT NULL"),
        ],
    )  # fmt: skip
    def test_other(self, query, gold):
        assert passed(query, gold) is False

    # The order of rows counts where the reference has an ORDER BY of its own, not in a subquery, text or comment
    def test_order(self):
        up, down = "SELECT name FROM pet ORDER BY id", "SELECT name FROM pet ORDER BY id DESC"
        assert (passed(up, up), passed(down, up)) == (True, False)
        for gold in (
            "SELECT name FROM pet WHERE id IN (SELECT id FROM pet ORDER BY id)",
            "SELECT name FROM pet -- ORDER BY id",
            "SELECT name FROM pet /* ORDER BY id */ WHERE name IS NOT 'ORDER BY'",
            'SELECT name AS "order by" FROM pet',
        ):
            assert passed(down, gold) is True

    # Rows that happen to be stored in the order are not asked for in it
    @pytest.mark.parametrize("query, ordered", [
        ("SELECT name FROM pet ORDER BY id", True), ("SELECT name FROM pet ORDER BY id ASC, age", True),
        ("SELECT name FROM (SELECT * FROM pet) ORDER BY id", True), ("SELECT name FROM pet p ORDER BY p.id * 2", True),
        ("SELECT name FROM pet", False), ("SELECT name FROM (SELECT * FROM pet ORDER BY id DESC)", False),
        ("SELECT name FROM pet WHERE id IN (SELECT id FROM pet ORDER BY id)", False),
        ("SELECT name FROM pet -- ORDER BY id", False),
    ])  # fmt: skip
    def test_order_by_luck(self, query, ordered):
        assert passed(query, "SELECT name FROM pet ORDER BY id") is ordered

    # Where the reference leaves the order of equal rows open, a query may settle it or leave it open, too
    def test_order_of_equal_rows(self):
        for by, right in (("age", True), ("age, id", True), ("age, weight", True), ("born, id", False)):
            assert passed(f"SELECT id FROM pet ORDER BY {by}", "SELECT id FROM pet ORDER BY age") is right, by

    # Knowing the data is not knowing the query: with a second database the constant fails
    def test_several_databases(self):
        other = PETS.replace("'Rex', 3", "'Rex', 4")
        gold = "SELECT sum(age) FROM pet"
        assert passed("SELECT 13", gold) is True
        assert passed("SELECT 13", gold, [PETS, other]) is False
        assert passed("SELECT sum(age) FROM pet", gold, [PETS, other]) is True


class TestRefused:
    # Everything that is not one reading statement
    @pytest.mark.parametrize(
        "query",
        [
            "", ";", "--", "sELEC", "SELECT name, age", "SELECT name, age FROM nope", f"I think {NAMES}",
            f"```sql\n{NAMES}", f"<think>{NAMES}", f"{NAMES}; DROP TABLE pet", f"{NAMES}; {NAMES}",
            f"{NAMES} --\n; DELETE FROM pet", "SELECT 'x", "SELECT \0", "x\0y", "SELECT ?1", "SELECT :a",
            "DELETE FROM pet", "UPDATE pet SET age = 1 RETURNING name, age", "INSERT INTO pet SELECT * FROM pet",
            "REPLACE INTO pet(id) VALUES (1) RETURNING name, age", "DROP TABLE pet", "ALTER TABLE pet ADD COLUMN x",
            "CREATE TABLE x(a)", "CREATE TEMP TABLE x(a)", "CREATE VIEW x AS SELECT 1",
            "CREATE TRIGGER x AFTER INSERT ON pet BEGIN SELECT 1; END", "CREATE VIRTUAL TABLE x USING fts5(a)",
            "ATTACH '{outside}' AS x", "DETACH main", "VACUUM", "VACUUM INTO '{outside}'", "ANALYZE", "REINDEX",
            "PRAGMA writable_schema = 1", "PRAGMA table_info(pet)", "SELECT * FROM pragma_table_info('pet')",
            "SELECT * FROM pragma_database_list", "SELECT * FROM dbstat", "SELECT * FROM sqlite_dbpage",
            "SELECT count(*) FROM pragma_database_list", "SELECT count(*) FROM dbstat",
            "SELECT count(*) FROM bytecode(1)",
            "WITH dbstat AS (SELECT 1) SELECT count(*) FROM dbstat, main.dbstat",
            "SELECT count(*) FROM pragma_table_list",
            "BEGIN", "COMMIT", "SAVEPOINT x", f"EXPLAIN {NAMES}", f"EXPLAIN QUERY PLAN {NAMES}",
        ],
    )  # fmt: skip
    def test_statements(self, query, tmp_path):
        outside = tmp_path / "outside.db"
        assert passed(query.replace("{outside}", str(outside))) is False
        assert not outside.exists()

    # Functions that reach outside, or whose value is another one each time
    @pytest.mark.parametrize(
        "call",
        [
            "load_extension('/tmp/x')", "readfile('/etc/passwd')", "writefile('/tmp/x', 'a')", "edit('x')",
            "fts3_tokenizer('simple')", "random()", "randomblob(4)", "hex(randomblob(4))", "abs(random())",
            "datetime('now')", "date()", "time('NOW')", "julianday('now')", "date('n' || 'ow')",
            "strftime('%s', 'now')", "strftime('%s')", "datetime('2024-01-01', 'localtime')", "CURRENT_TIMESTAMP",
            "CURRENT_DATE", "current_time", "unixepoch()", "last_insert_rowid()", "changes()", "total_changes()",
            "sqlite_version()", "sqlite_source_id()", "sqlite_compileoption_get(1)",
        ],
    )  # fmt: skip
    def test_functions(self, call):
        assert passed(f"SELECT {call}", f"SELECT typeof('{call.replace(chr(39), '')}')") is False
        assert passed(f"SELECT typeof({call})", "SELECT 'text'") is False

    # The same by other spellings of an argument: SQLite reads texts up to the first zero, and blobs as text
    @pytest.mark.parametrize("function", ["date", "time", "datetime", "julianday", "unixepoch", "strftime"])
    @pytest.mark.parametrize(
        "argument",
        [
            "'now' || char(0)", "'now' || char(0) || 'x'", "x'6e6f77'", "x'4e4f5700ff'", "CAST('NOW' AS BLOB)",
            "'2024-01-01', 'localtime' || char(0)", "'2024-01-01', x'757463'",
            "'2024-01-01', CAST('LocalTime' AS BLOB)",
            "CAST(x'6e6f7700' AS TEXT)", "substr('know', 2)", "'subsec' || char(0)",
        ],
    )  # fmt: skip
    def test_the_present_in_disguise(self, function, argument):
        call = f"{function}({chr(39) + '%s' + chr(39) + ', ' if function == 'strftime' else ''}{argument})"
        assert passed(f"SELECT typeof({call})", "SELECT 'text'") is False
        assert passed(f"SELECT {call} IS NOT NULL", "SELECT 1") is False

    # What is no present time is read as before, whatever it is written as
    @pytest.mark.parametrize(
        "call, value",
        [
            ("date('2024-02-28', '+1 day')", "'2024-02-29'"), ("date(x'323032342d30322d3238')", "'2024-02-28'"),
            ("date('2024-02-28' || char(0) || 'now')", "'2024-02-28'"), ("strftime('%Y', '2024-02-28')", "'2024'"),
            ("datetime(0, 'unixepoch')", "'1970-01-01 00:00:00'"), ("date(NULL)", "NULL"), ("date('soon')", "NULL"),
            ("julianday('2000-01-01 12:00')", "2451545.0"),
        ],
    )  # fmt: skip
    def test_other_times(self, call, value):
        assert passed(f"SELECT {call}", f"SELECT {value}") is True

    # Work, memory and size without end
    @pytest.mark.parametrize(
        "query",
        [
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
            "WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM c) SELECT length(x) FROM c",
            "SELECT count(*) FROM " + ", ".join(f"pet p{i}" for i in range(14)),
            "SELECT randomblob(1000000000)", "SELECT zeroblob(1000000000)", "SELECT hex(zeroblob(900000))",
            "SELECT printf('%.999999999c', 'x')", "SELECT printf('%*d', 999999999, 1)", "SELECT format('%99999d', 1)",
            "SELECT printf(x'253939393939393939396400', 1)",
            "SELECT replace(hex(zeroblob(499999)), '0', 'aaaaaaaaaaaaaaaaaaaa')",
            "SELECT " + "(" * 5_000 + "1" + ")" * 5_000, "SELECT " + "1+" * 9_000 + "1",
            "SELECT '" + "a" * 30_000 + "'",
            " UNION ALL ".join(["SELECT 1"] * 100), "SELECT " + ",".join(["1"] * 300),
            "SELECT a.name LIKE '" + "%a" * 60 + "' FROM pet a",
        ],
    )  # fmt: skip
    def test_bombs(self, query):
        assert passed(query, max_steps=300_000) is False

    # The limit on steps is no time: just enough is enough, on any machine
    def test_steps_decide(self):
        query = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 9000) SELECT sum(x) FROM c"
        assert {passed(query, "SELECT 40504500", max_steps=1_000_000) for _ in range(3)} == {True}
        assert {passed(query, "SELECT 40504500", max_steps=50_000) for _ in range(3)} == {False}


class TestReferences:
    # A fault of the dataset, whatever the completion is
    @pytest.mark.parametrize(
        "gold, database",
        [
            ("SELECT nope FROM pet", PETS), ("DELETE FROM pet", PETS), ("", PETS), (3, PETS),
            ("SELECT random()", PETS),
            ("SELECT date('now')", PETS), (NAMES, "/nowhere/pets.db"), (NAMES, "CREATE nonsense;"), (NAMES, []),
            (NAMES, 3), (NAMES, ""), ("SELECT 1 WHERE 0", PETS),  # no row: any query without rows would pass
            (f"{NAMES} WHERE age > 99", PETS), (NAMES, [PETS, "/nowhere/pets.db"]),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("query", [NAMES, "nonsense", "SELECT 1 WHERE 0"])
    def test_unreadable(self, gold, database, query):
        assert passed(query, gold, database) is None

    # An empty result on one database may tell queries apart, if there is a row on another
    def test_empty_on_one_of_several(self):
        gold, empty = "SELECT name FROM pet", "CREATE TABLE pet(name TEXT);"
        assert passed(gold, gold, [PETS, empty]) is True
        assert passed("SELECT name FROM pet UNION ALL SELECT 'x' WHERE 0", gold, [PETS, empty]) is True
        assert passed("SELECT 'Rex'", gold, [PETS, empty]) is False

    def test_file_is_read_and_stays(self, tmp_path):
        path = tmp_path / "pets #1?.db"
        with sqlite3.connect(path) as connection:
            connection.executescript(PETS)
        connection.close()
        before = path.read_bytes()
        assert passed(NAMES, database=str(path)) is True
        for query in ("DELETE FROM pet", "DROP TABLE pet", "PRAGMA user_version = 7", "SELECT name FROM pet"):
            assert passed(query, database=str(path)) is False
        assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]

    def test_no_file_is_created(self, tmp_path):
        assert passed(NAMES, database=str(tmp_path / "new.db")) is None
        assert os.listdir(tmp_path) == []


def test_reward_in_workers():
    counted = {}
    grades = sql_reward(
        prompts=["?"] * 4,
        completions=[NAMES, "SELECT 1", NAMES, NAMES],
        solution=[NAMES, NAMES, "SELECT nope", NAMES],
        database=[PETS, PETS, PETS, None],
        log_metric=counted.__setitem__,
    )
    assert grades == [1.0, 0.0, None, None]
    assert counted["sql_reward/unreadable"] == 1.0


def test_options():
    with pytest.raises(ValueError, match="max_steps"):
        SQLReward(max_steps=0)
