"""Responses that follow each type of instruction, and responses that do not, for `test_instructions.py`."""

from trl_copd.rewards.instructions import reward as module


ENGLISH = "The old harbour was quiet in the morning, and the fishermen were mending their nets beside the water."
GERMAN = "Der alte Hafen war am Morgen ruhig, und die Fischer flickten ihre Netze neben dem Wasser, bevor sie fuhren."
SPANISH = "El viejo puerto estaba tranquilo por la mañana y los pescadores remendaban sus redes junto al agua."
RUSSIAN = "Старый порт был тих утром, и рыбаки чинили свои сети у воды, прежде чем выйти в море."
STORY = [  # 26 sentences, from A to Z
    "A boat came home.", "Boys ran to the pier.", "Cats followed them there.", "Dawn broke over us.",
    "Every window shone.", "Far away a bell rang.", "Gulls cried above.", "Her father waved first.",
    "It was very cold.",
    "Joy filled the harbour.", "Kites rose high.", "Little waves came in.", "Men hauled the nets.",
    "Nobody spoke much.",
    "Old songs began.", "People brought bread.", "Quiet returned later.", "Rain fell at noon.", "Some went indoors.",
    "They lit the stove.", "Under it a dog slept.", "Voices grew soft.", "Wind shook the door.", "Xenia read aloud.",
    "Years had gone by.", "Zoe closed the book.",
]  # fmt: skip
AFRICA = sorted((names.split(",")[0] for names in module.ifbench_tasks.AFRICA.split("|")), reverse=True)
CAPITALS = list(module.ifbench_tasks.CAPITALS)
BATTLES = ["1796-05-10", "1797-01-14", "1798-07-21", "1800-06-14", "1805-12-02", "1806-10-14", "1807-06-14",
           "1809-07-05", "1812-09-07", "1813-10-16", "1815-06-18"]  # fmt: skip
CITY = ["ID,Country,City,Year,Count", *(f"{i},France,Town{i},200{i},{i * 10}" for i in range(1, 8))]
SHOP = ["ProductID,Category,Brand,Price,Stock", *(f"{i},Toys,Brand{i},{i}.50,{i}" for i in range(1, 14)),
        '14,Toys,"Brand & Co",9.99,3']  # fmt: skip
SCHOOL = ['"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"',
          *(f'"{i}"\t"Maths"\t"A"\t"Fall"\t"9{i}"' for i in range(3))]  # fmt: skip
QUESTIONS = "\n\n".join(
    f"Question {i}: Who painted {'the large ' * i}picture?\n" + "\n".join(f"{c}) Painter {c}{i}" for c in "ABCDE")
    for i in range(1, 5)
)
PALINDROMES = "level radar civic rotor kayak madam refer tenet stats rotator deified".split()
PARAGRAPHS = [f"{ENGLISH} Part {n}." for n in ("one", "two", "three")]
LONG = " ".join(STORY)
HIDDEN = "\u200b"

# Type: arguments, responses that follow it, responses that do not. The last ones of a row are attempts to look as if
CASES = {
    "keywords:existence": (
        {"keywords": ["harbour", "net"]},
        ["A harbour and a net.", "HARBOUR: the net", "The net’s in the **harbour**.", "_harbour_, __net__"],
        ["A harbour.", "The harbourmaster has a netbook.", f"har{HIDDEN * 3}bor, n et", "<!-- harbour net --> Done.",
         "",
         "Hi <span style='display:none'>harbour net</span> you"],
    ),
    "keywords:frequency": (
        {"keyword": "sea", "frequency": 3, "relation": "at least"},
        ["The sea, a sea and the Sea.", "Sea by sea by sea by sea.", "_sea_ is __sea__ is ___sea___"],
        ["The sea and the sea.", "sea sea sea sea", "season seaside sea", "sea <!-- sea sea --> far"],
    ),
    "keywords:forbidden_words": (
        {"forbidden_words": ["bad", "very ugly"]},
        ["Not badly done.", "A very fine day.", "ugly", "_badly_", "_very_ fine, ugly", "very - ugly"],
        ["A bad day.", "BAD!", "a _bad_ day", "a __bad__ day", "_bad day_", "_very ugly_", "very **ugly**",
         "__very__ _ugly_", "not_bad", "It is very\nugly.", f"b{HIDDEN}ad day", "a b\u0430d day",
         "Fine. <!-- bad -->"],
    ),
    "keywords:letter_frequency": (
        {"letter": "z", "let_frequency": 3, "let_relation": "at least"},
        ["A lazy wizard dozes.", "Pizza and jazz."],
        ["A lazy wizard.", "zzzzzzzzzz", "z" + HIDDEN * 3, "lazy <!-- zzz zz z -->"],
    ),
    "language:response_language": (
        {"language": "de"},
        [GERMAN, f"# Hafen\n\n{GERMAN}", "Das weiß ich leider nicht."],
        [ENGLISH, SPANISH, f"{ENGLISH} Das ist gut.", f"{GERMAN}\n\n{ENGLISH}\n\n{ENGLISH} And more.",
         "12345", RUSSIAN],
    ),
    "length_constraints:number_sentences": (
        {"num_sentences": 3, "relation": "at least"},
        ["One boat came. It was late. Dr. Smith slept.", "Why? I do not know! It may rain."],
        ["One boat came. It was late.", "It rains. It rains. It rains. It rains.", "Dr. Smith met Mr. J. R. Jones.",
         ". . . . .", "1. 2. 3. 4.", "No... no... no"],
    ),
    "length_constraints:number_paragraphs": (
        {"num_paragraphs": 3},
        ["\n***\n".join(PARAGRAPHS), "One here.\n\n***\n\nTwo here.\n\n***\n\nThree here."],
        ["\n\n".join(PARAGRAPHS), "A.\n***\nB.", "\n***\n".join([*PARAGRAPHS, "x"]), "Same.\n***\nSame.\n***\nSame.",
         "One.\n***\n\n***\nThree."],
    ),
    "length_constraints:number_words": (
        {"num_words": 20, "relation": "at least"},
        [LONG, f"{ENGLISH} Then the sun rose slowly over the well-known hills."],
        ["Too short.", "word " * 30, "a b " * 200, " ".join(map(str, range(99))),
         " ".join("abcdefghijklmnopqrstuvwxyz"), "- - - - - - - - - - - - - - - - - - - - - - - -",
         f"Short. <!-- {ENGLISH} {ENGLISH} -->", "It rains today. " * 12],
    ),
    "length_constraints:nth_paragraph_first_word": (
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Later"},
        ["First this.\n\nLater that.", "First this.\n\n**later**, that."],
        ["First this.\n\nThen later.", "Later.\n\nThen.", "First.\n\nMiddle.\n\nLater.", "Later on.\n\nLater on.",
         "First. Later that."],
    ),
    "detectable_content:number_placeholders": (
        {"num_placeholders": 3},
        ["Dear [name], come to [place] at [time].", "[First name] [Last name] [address line 1]"],
        ["Dear [name].", "[name] [name] [name]", "[] [ ] [1] [2]", "[a link](x) [b link](y) [c link](z)",
         "Dear [name] <!-- [place] [time] -->"],
    ),
    "detectable_content:postscript": (
        {"postscript_marker": "P.S."},
        ["Dear all.\n\nP.S. Bring bread.", "Text.\n**P.S.** More text.", "Text.\n__P.S.__ More text.",
         "Text.\np.s. more"],
        ["Dear all.", "P.S. Only this.", "Text.\nP.S.", "We add a P.S. in the middle.", "Text.\n<!-- P.S. more -->"],
    ),
    "detectable_format:number_bullet_lists": (
        {"num_bullets": 3},
        ["* one\n* two\n* three", "List:\n- a b\n- c d\n- e f\nDone."],
        ["* one\n* two", "* one\n* two\n* three\n* four", "* \n* \n* ", "* one\n* one\n* one", "*one* *two* *three*",
         "1. one\n2. two\n3. three"],
    ),
    "detectable_format:constrained_response": (
        {},
        ["My answer is yes.", "**My answer is no.**", "It rains.\nMy answer is maybe."],
        ["Yes.", "My answer is yes. My answer is no.", "My answer is yesterday.", "My answer is", "my answer: yes",
         "One of: My answer is yes., My answer is no., My answer is maybe."],
    ),
    "detectable_format:number_highlighted_sections": (
        {"num_highlights": 3},
        ["*one part* and *two parts* and *three parts*", "**a b** c **d e** f **g h**"],
        ["*one* *two*", "*one* *one* *one*", "** ** ** ** ** **", "* one\n* two\n* three", "3*4*5*6*7",
         "*a <!-- *b* *c* -->"],
    ),
    "detectable_format:multiple_sections": (
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\nOne thing.\nSECTION 2\nAnother.", "## SECTION 1: Start\nGo.\n\n## SECTION 2: End\nStop.",
         "__SECTION 1__\nGo.\n\n__SECTION 2__\nStop."],
        ["SECTION 1\nOnly.", "SECTION 1\nSECTION 2\n", "SECTION 1\nSame.\nSECTION 2\nSame.",
         "SECTION 2\na\nSECTION 1\nb",
         "See SECTION 1 and SECTION 2.", "SECTION one\nA.\nSECTION two\nB."],
    ),
    "detectable_format:json_format": (
        {},
        ['{"a": 1}', '```json\n{"a": [1, 2]}\n```', '[{"a": null}]'],
        ["{}", "[]", "5", '"text"', 'Here: {"a": 1}', '{"a": 1,}', '```json\n{"a": 1}\n```\nDone.', "{'a': 1}"],
    ),
    "detectable_format:title": (
        {},
        ["<<The Harbour>>\nIt is old.", "Text. <<An end>>"],
        ["The Harbour", "<<>>", "<< >>", "<<\nA title\n>>", "<The Harbour>", "<<...>>"],
    ),
    "combination:two_responses": (
        {},
        ["One answer.\n******\nAnother answer.", "Yes, it is.******No, it is not."],
        ["One answer.", "Same.\n******\nSame.", "One.\n******\n", "******", "A.\n******\nB.\n******\nC.",
         "A.\n***\nB."],
    ),
    "combination:repeat_prompt": (
        {"prompt_to_repeat": "Name a river in France."},
        ["Name a river in France. The Loire is one.", "name a river in france.\n\nThe Rhône."],
        ["The Loire.", "Name a river in France.", "Name a river in France. Name a river in France.",
         "Name a river. Loire.",
         "Sure! Name a river in France. The Loire."],
    ),
    "startend:end_checker": (
        {"end_phrase": "Is there anything else?"},
        ["It is done. Is there anything else?", "It is done.\n**is there anything else?**"],
        ["Is there anything else?", "Is there anything else? No.", "It is done.", "It is done. Is there anything?",
         "Done. <!-- Is there anything else? -->"],
    ),
    "startend:quotation": (
        {},
        ['"It is a quotation."', "“Indeed.”"],
        ["No quotes.", '"Half', 'Half"', '""', '"', 'He said "yes".', "'Single.'"],
    ),
    "change_case:capital_word_frequency": (
        {"capital_frequency": 3, "capital_relation": "at least"},
        ["The NASA and ESA and JAXA.", "STOP now OR wait HERE"],
        ["The NASA.", "STOP STOP STOP STOP", "Not A Single One", "no <!-- NASA ESA JAXA -->"],
    ),
    "change_case:english_capital": (
        {},
        [ENGLISH.upper(), "YES, IT WAS A QUIET MORNING IN THE HARBOUR."],
        [ENGLISH, GERMAN.upper(), ENGLISH.upper() + " and", "123", RUSSIAN.upper()],
    ),
    "change_case:english_lowercase": (
        {},
        [ENGLISH.lower(), "yes, it was a quiet morning in the harbour."],
        [ENGLISH, GERMAN.lower(), ENGLISH.lower() + " I", "123", "..."],
    ),
    "punctuation:no_comma": (
        {},
        ["No commas here.", "A; b; c."],
        ["One, two.", "一，二", "one، two", "1,000", "Fine. <!-- , -->", "one &#44; two"],
    ),
    "count:word_count_range": (
        {"min_words": 8, "max_words": 10},
        ["One boat came home late and the boys ran.", "Well-known men don't often haul nets here at noon."],
        ["Too short.", LONG, "go go go go go go go go go", "a <!-- b c d e f g h i j -->", "* * * * * * * * *"],
    ),
    "count:unique_word_count": (
        {"N": 12},
        [LONG, ENGLISH],
        ["Too few words.", "the boat " * 40, "1 2 3 4 5 6 7 8 9 10 11 12 13", "one ONE One oNe onE " * 5],
    ),
    "count:conjunctions": (
        {"small_n": 3},
        ["He ran and fell but rose, so all was well.", "For you or me, yet."],
        ["He ran and fell.", "and and and and", "sandy butter forum", "Fine. <!-- and but so -->"],
    ),
    "count:person_names": (
        {"N": 3},
        ["Emma, Liam and Noah met.", "Mia's friend Leo saw Zoe."],
        ["Emma met Liam.", "Emma Emma Emma", "emma liam noah", "Emmanuel, Liams, Noahs", "Bob, Tim and Sue"],
    ),
    "count:numbers": (
        {"N": 3},
        ["I had 3 cats, 4 dogs and 1,000 fish.", "1. a\n2. b\n3. c", "3.5 and -2 and 7%", "_3_, __4__ and 5"],
        ["3 and 4", "1 2 3 4", "three, four, five", "B2 3D x1", "3 4 <!-- 5 -->", "3, 4, 5 and _6_"],
    ),
    "words:alphabet": (
        {},
        ["A big cat drank eggnog.", "Young Zebras always bite."],
        ["A cat drank.", "Alone", "A B C E", "Big apples", "a, c, e, g"],
    ),
    "words:vowel": (
        {},
        ["A cat sat at a bar in Iran.", "He feels free when she sleeps."],
        [ENGLISH, "Education is quoted.", "Rhythm fly by.", "A cat.\n\nSat it in.", "aeo"],
    ),
    "words:consonants": (
        {},
        ["Strong winds struck small ships.", "Fresh bread smells lovely."],
        ["A strong wind.", "Strong winds are cold.", "aeiou", "Ships go past"],
    ),
    "sentence:alliteration_increment": (
        {},
        ["Bob sat. Big boats came. Small silver ships sailed.", "Go home. Two tall men. Red roses ran."][:1],
        ["Big boats. Bob.", "Big boats came. Small fish sank.", "One sentence only here.",
         "Go. Sad sad. Big big big. Tea tea tea tea."],
    ),
    "words:palindrome": (
        {},
        [" ".join(PALINDROMES), "My " + ", ".join(PALINDROMES[:10])],
        [" ".join(PALINDROMES[:9]), "level " * 10, " ".join(letter * 5 for letter in "abcdefghijk"),
         "mom dad pop eye wow noon peep deed civic level", "aaaaa bbbbb"],
    ),
    "count:punctuation": (
        {},
        ["Well: yes; no, maybe! What? Fine. Really?!", "Stop! Why? So: a, b; c. What‽"],
        ["Yes, no.", ".,;:?!", "Well: yes; no, maybe. Really?!", "Well, what? Yes! No."],
    ),
    "format:parentheses": (
        {},
        ["A (b [c {d (e [f] g) h} i] j) k", "1) First (a (b (c (d (e)))))"],
        ["(a (b (c (d))))", "((((( word", "((((()))))", "(a) (b) (c) (d) (e)", "(a [b {c (d [e)]}))"],
    ),
    "format:quotes": (
        {},
        ["He said, \"She told me, 'I heard \"go\" twice' then.\"", "'a \"b 'c' d\" e'"],
        ["\"One\" and 'two'.", "\"She said 'go'.\"", "\"''\"", "\"a\" \"b\" \"c\"", "don't \"can't\" won't"],
    ),
    "words:prime_lengths": (
        {},
        ["We see the great harbour.", "It was hot."],
        ["A boat.", "We see a dog", "four", "The cat sits"],
    ),
    "format:options": (
        {"options": "yes/no/maybe"},
        ["yes", "No.", '"Maybe"', "**yes**"],
        ["yes or no", "Yes, because it rains.", "yes/no/maybe", "perhaps", "", "yes no"],
    ),
    "format:newline": (
        {},
        ["one\ntwo\nthree", "One,\n\ntwo."],
        ["one two\nthree", "one two three", "single", "one\u00a0two\nthree"],
    ),
    "format:emoji": (
        {},
        ["It is warm. 😀 I swim! 🌊", "Good day 😀\nSee you 👍🏽", "Yes 😀. No 😀."],
        ["It is warm. I swim! 🌊", "😀 It is warm.", "It is warm :)", "It 😀 is warm.", ""],
    ),
    "ratio:sentence_words": (
        {},
        ["Big dogs ran. Our cats sat. Few hens won.", "Ed ate. He ran! We sit?"],
        ["I ate. He ran. Nobody sat.", "I ate. I ran. I sat.", "I ate. He ran.", "I ate. He ran. We sit. No go."],
    ),
    "count:words_japanese": (
        {"N": 3},
        ["I like 猫 and my 犬 is cute", "one two 三 four five 六つ seven"],
        ["I like cats and my dog", "I 猫 like", "I like 猫 and my dog", "I am"],
    ),
    "words:start_verb": (
        {},
        ["Run to the harbour.", "Going home was hard.", "Is it late?", "Book a room."],
        ["The harbour is old.", "Water is cold.", "He runs.", "Quickly run.", "Books are old."],
    ),
    "words:repeats": (
        {"small_n": 2},
        ["The boat and the dog.", "No word comes often."],
        ["the boat the dog the cat", "go GO Go", "a a a", "the t\u0435st, the dog, t\u04bbe cat"][:3],
    ),
    "sentence:keyword": (
        {"word": "boat", "N": 2},
        ["It rains. The boat is wet.", "Dr. Smith came. A BOAT waits. Yes."],
        ["The boat is wet. It rains.", "The boat.", "It rains. The boathouse is wet.", "It rains. <!-- boat --> Yes."],
    ),
    "count:pronouns": (
        {"N": 4},
        ["I saw you and he saw them.", "We told her that she was right; it's fine."],
        ["The boat came.", "I saw it.", "hers <!-- i you he she --> boat", "island youth helium sheet"],
    ),
    "words:odd_even_syllables": (
        {},
        ["The water is yellow.", "Big rivers flow slowly"],
        ["The old boat sank", "Water table yellow", "Go", "the the the"],
    ),
    "words:last_first": (
        {},
        ["I love rain. Rain is wet. Wet dogs smell.", "We saw the sea. Sea air helps!"],
        ["I love rain. It is wet.", "One sentence.", "Rain. Rain. Rain.", "I love rain. Rainy days help."],
    ),
    "words:paragraph_last_first": (
        {},
        ["Rain falls on the town like rain.", "Sea calls to sea.\nHome is always home."],
        ["Rain falls.", "Rain", "Rain falls as rain.\nNo it is not.", "Rain rain"],
    ),
    "sentence:increment": (
        {"small_n": 2},
        ["I ran. He ran far away. We all went home very late.", "Go. Go home now."],
        ["I ran. He ran far.", "One sentence.", "He ran far away. I ran.", "I ran. He sat down there. No go."],
    ),
    "words:no_consecutive": (
        {},
        ["The old boat sank.", "Dogs eat meat"],
        ["Big boats sank.", "The tall man", "Boat", "Two Teams"],
    ),
    "format:line_indent": (
        {},
        ["one step\n two steps\n  three steps", "a\n\tb\n\t\tc"],
        ["one\ntwo\nthree", "one", "  one\n two", " one\n one more", "one\n  two\n  three"],
    ),
    "format:quote_unquote": (
        {},
        ['He said "go" which means leave. Then "stop", that is, wait.', '"Rain" is water from clouds.'],
        ["No quotes.", 'He said "go"', '"go" "stop" means both.', '"" is empty.', 'One "half'],
    ),
    "format:list": (
        {"sep": "!?!?"},
        ["!?!? one\n!?!? two", "Things:\n!?!? a dog\n!?!? a cat\n!?!? a cow"],
        ["* one\n* two", "!?!? one", "!?!?\n!?!?", "!?!? one\n!?!? one", "!?!? one\n!?!? two\n- three"],
    ),
    "format:thesis": (
        {},
        ["<i>Rain helps.</i> It waters the fields.",
         "# One\n<em>Sun helps.</em>\nIt warms.\n# Two\n<i>So.</i> Yes it is."],
        ["*Rain helps.* It waters.", "<i></i> It waters.", "It waters. <i>Rain helps.</i>",
         "<i>One.</i> Yes.\n\nTwo has none.", "<i>Only italics.</i>"],
    ),
    "format:sub-bullets": (
        {},
        ["* one\n  - a part\n* two\n  - b part\n  - c part", "Intro\n* one\n- sub"],
        ["* one\n* two\n  - b", "- one\n- two", "* one", "* \n  - ", "* one\n  - a\n* two",
         "* same\n - a\n* same\n - b"],
    ),
    "format:no_bullets_bullets": (
        {},
        ["It rains. It is cold.\n* one\n* two", "First this. Then that.\n\n* a b\n* c d\n* e f"],
        ["It rains.\n* one\n* two", "* one\n* two\nIt rains. It is cold.", "It rains. It is cold.\n* one",
         "It rains. It rains.\n* a\n* b",
         "It rains! Is it cold?\n* one\n* two", "It rains. It is cold.\n* one\n* one"],
    ),
    "custom:multiples": (
        {},
        ["14, 21, 28, 35, 42, 49", "14\n21\n28\n35\n42\n49"],
        ["7, 14, 21, 28, 35, 42, 49", "14, 21, 28, 35, 42", ", ".join(map(str, range(10, 51))), "49 42 35 28 21 14",
         "seven"],
    ),
    "custom:mcq_count_length": (
        {},
        [QUESTIONS],
        [QUESTIONS.replace("E) Painter E1\n", ""), "\n\n".join(reversed(QUESTIONS.split("\n\n"))), "Question " * 4,
         QUESTIONS.replace("Question", "Q"), "Here they are:\n" + QUESTIONS, QUESTIONS.split("\n\n")[0]],
    ),
    "custom:reverse_newline": (
        {},
        ["\n".join(AFRICA), "\n".join(f"{i}. {name}" for i, name in enumerate(AFRICA, 1))],
        ["\n".join(reversed(AFRICA)), "\n".join(AFRICA[:40]), ", ".join(AFRICA), "\n".join(["Zanzibar", *AFRICA]),
         "\n".join(["Zimbabwe", *AFRICA])],
    ),
    "custom:word_reverse": (
        {},
        ["States United the of symbol national the is eagle bald The",
         "US the of animal national the is eagle bald the."],
        ["The bald eagle is the national symbol.", "eagle bald", "eagle bald rain rain", "lion the is It"],
    ),
    "custom:character_reverse": (
        {},
        ["The bald eagle is the symbol."[::-1], "the bald eagle"[::-1]],
        ["The bald eagle is the symbol.", "eagle bald the", "noil a si tI", "dlab"],
    ),
    "custom:sentence_alphabet": (
        {},
        [LONG, "\n".join(STORY)],
        [" ".join(STORY[:25]), " ".join(reversed(STORY)),
         " ".join(f"{c}." for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), ENGLISH,
         " ".join([*STORY, "And more."])],
    ),
    "custom:european_capitals_sort": (
        {},
        [", ".join(CAPITALS), ", ".join(CAPITALS).replace("Kyiv", "Kiev").replace("Chisinau", "Chișinău") + "."],
        [", ".join(reversed(CAPITALS)), ", ".join(CAPITALS[:10]), ", ".join([*CAPITALS, "Rome"]), "\n".join(CAPITALS),
         ", ".join(["Helsinki, Reykjavik", *CAPITALS[2:]])],
    ),
    "custom:csv_city": (
        {},
        ["\n".join(CITY), "```csv\n" + "\n".join(CITY) + "\n```"],
        ["\n".join(CITY[:-1]), "\n".join(CITY[1:]), "\n".join([*CITY[:-1], CITY[1]]), "\n".join(CITY).replace(",",
         ";"),
         "Here:\n" + "\n".join(CITY), "\n".join(line.replace(",France", ",") for line in CITY)],
    ),
    "custom:csv_special_character": (
        {},
        ["\n".join(SHOP)],
        ["\n".join(SHOP).replace('"Brand & Co"', "Brand14"), "\n".join(SHOP).replace("Brand & Co", "Brand14"),
         "\n".join(SHOP[:-1]), "\n".join(SHOP).replace('"Brand & Co"', "Brand & Co")],
    ),
    "custom:csv_quotes": (
        {},
        ["\n".join(SCHOOL)],
        ["\n".join(SCHOOL).replace('"', ""), "\n".join(SCHOOL).replace("\t", ","), "\n".join(SCHOOL[:-1]),
         "\n".join(SCHOOL).replace('"Maths"', "Maths")],
    ),
    "custom:date_format_list": (
        {},
        [", ".join(BATTLES), ",".join(BATTLES)],
        [", ".join(BATTLES[:3]), "1796-05-10 " * 12, ", ".join([*BATTLES, "1796-13-01"]), ", ".join([*BATTLES,
         "2024-01-01"]),
         ", ".join(BATTLES[:1] * 12), ", ".join(b.replace("-", "/") for b in BATTLES)],
    ),
    "count:keywords_multiple": (
        {f"keyword{i}": word for i, word in enumerate(("sun", "sea", "fog", "ice", "dew"), 1)},
        ["The sun, then sea and sea; fog met fog in fog. " + "Some ice came. " * 2 + "Ice on ice on ice. "
         + "More dew fell. " * 3 + "Dew on dew, dew by dew."],
        ["sun sea sea fog fog fog ice ice ice ice ice dew", "sun", "sun sun sea sea fog fog fog", "sunny seas"],
    ),
    "words:keywords_specific_position": (
        {"keyword": "boat", "n": 2, "m": 3},
        ["It rains. The old boat sank.", "Why? My red boat! Yes."],
        ["It rains. The boat sank.", "The old boat sank.", "It rains. The old boats sank.", "It rains."],
    ),
    "words:words_position": (
        {"keyword": "despite"},
        ["Sun despite rain and sun despite rain.", "Go despite all, despite it"],
        ["Sun despite rain and sun.", "despite it all despite", "despite", "Go despite it"],
    ),
    "repeat:repeat_change": (
        {"prompt_to_repeat": "Write a short poem."},
        ["Draft a short poem.", "Compose a short poem."],
        ["Write a short poem.", "Draft a long poem.", "Draft a short poem. Roses are red.",
         "Sure: draft a short poem.", "write a short poem."],
    ),
    "repeat:repeat_simple": (
        {},
        ["Only output this sentence here, ignore all other requests.",
         "only output this sentence here, ignore all other requests"],
        ["OK. Only output this sentence here, ignore all other requests.", "Only output this sentence.",
         "Roses are red."],
    ),
    "repeat:repeat_span": (
        {"prompt_to_repeat": "explain the context", "n_start": 8, "n_end": 10},
        ["the", '"the"'],
        ["explain the context", "th", "the context", "context", "The"],
    ),
    "format:title_case": (
        {},
        ["The Old Man and the Sea", "It Is a Quiet Day in the Harbour."],
        ["The old man and the sea", "THE OLD HARBOUR WAITS", "the Old Man", "It Is a quiet Day"],
    ),
    "format:output_template": (
        {},
        ["My Answer: It rains.\nMy Conclusion: Stay in.\nFuture Outlook: Sun.",
         "My Answer: a b My Conclusion: c Future Outlook: d"],
        ["My Answer: [answer] My Conclusion: [conclusion] Future Outlook: [outlook]", "My Answer: x",
         "Hi. My Answer: a My "
         "Conclusion: b Future Outlook: c", "My Answer: My Conclusion: Future Outlook:",
         "My Answer: a My Conclusion: a Future Outlook: a"],
    ),
    "format:no_whitespace": (
        {},
        ["NeonGlow", "NeonGlow,BrightSign"],
        ["Neon Glow", "Neon\nGlow", "Neon\u00a0Glow", "Neon\tGlow", "", "..."],
    ),
    "ratio:stop_words": (
        {"percentage": 30},
        ["Fishermen mended nets beside quiet water.", "Old boats need fresh paint every spring."],
        ["It is what it is and that is that.", ENGLISH, "", "I am who I am"],
    ),
    "ratio:sentence_type": (
        {},
        ["It rains. It is cold. Is it late?", "We go. Why? They stay."],
        ["It rains. Is it late?", "It rains. It is cold.", "Is it? Is it so?",
         "It rains. It is cold. Is it late? Go!  Why? Ah."],
    ),
    "ratio:sentence_balance": (
        {},
        ["It rains. Is it late? Go home!", "We go. Why so? Stop! They sit. When then? Ah yes!"],
        ["It rains. Is it late?", "It rains. It is cold. Is it late? Go!", "Go! Run!", "It rains"],
    ),
    "ratio:overlap": (
        {"percentage": 100, "reference_text": "The old harbour was quiet."},
        ["The old harbour was quiet.", "The old harbour"],
        ["Something else entirely.", "The old harbour was quiet. And then the storm came in.", "ab", ""],
    ),
}  # fmt: skip
