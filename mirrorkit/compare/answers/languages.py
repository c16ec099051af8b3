"""The language of a text: by its script, and for scripts of many languages by their commonest words."""

from functools import cache

import polars as pl

from mirrorkit.compare.answers.texts import composed, looks_like_json

_LOOKED_AT = 300
_FEWEST_WORDS = 4
_FEWEST_SIGNS = 4
_FEWEST_HITS = 2
_LEAST_SHARE = 0.12
_LEAD = 1.15
# code, addresses and tables are no prose
_SYMBOL = r"[=(){}\[\]<>_/\\|;]"
_MOST_SYMBOLS = 0.1

# A word that several languages have counts less for each of them.
# fmt: off
_WORDS = {
    "en": "the of and to a in is that it for you was with as are on be have this not at by from or an "
          "but what all were when your can there which their will would has more if they we his her its "
          "been how about who so do does could should here i my our these than into some also where "
          "because",
    "de": "der die das und ist nicht ein eine einen einer eines dem den des zu mit sich auf für von im "
          "es ich sie er wir ihr auch als an nach wie bei aus werden wird sind war hat haben kann "
          "können oder aber wenn nur noch über zum zur dass durch man einem vom um so mehr diese dieser "
          "sein mir mich hier",
    "fr": "le la les de des du un une et est en que qui dans pour pas sur au aux avec ce cette ces il "
          "elle je vous nous ils ne se sont par plus ou mais son sa ses être avoir a été fait comme "
          "tout peut leur si même bien très votre vos notre où aussi c qu d l j ai sans entre on y",
    "es": "el la los las de del un una y es en que por para con no se su sus lo al como más pero este "
          "esta estos son ha fue ser está están muy también o sin sobre entre cuando hay todo yo mi tu "
          "usted puede si ya me le les porque qué desde hasta donde nos años ese eso eres tiene tienen "
          "ellos era",
    "pt": "o a os as de do da dos das um uma e é em no na nos nas que por para com não se seu sua mais "
          "como mas foi ao aos à são ser está você ele ela eu também ou muito pode quando já isso este "
          "esta pelo pela tem têm entre até sem mesmo seus suas me minha meu depois onde sobre há era "
          "estou",
    "it": "il lo la i gli le di del della dei delle un una uno e è in nel nella che per con non si su "
          "sono come più ma anche al alla dal dalla da ha o questo questa se mi ci essere molto quando "
          "suo sua loro io ho hai può dove cosa perché tutti tutto ai dell l c sul sulla era hanno ti",
    "nl": "de het een en van is dat in op te niet zijn met voor die er aan ik je hij ze we wij om ook "
          "als maar bij door naar uit dan nog worden wordt werd heeft hebben kan deze dit of over tot "
          "meer was geen wat haar zich u uw mijn hoe onder wel moet zal al zou kunnen veel hun waar",
    "sv": "och att det som en ett är på i av för den med inte till har de jag om var han hon men så vi "
          "du kan från eller när ska vid också sig efter mycket finns blir detta denna där mig sin hur "
          "inga alla ni era min många över bara mer vad skulle kommer nu man någon något varit",
    "da": "og at det som en et er på i af for den med ikke til har de jeg om var han hun men så vi du "
          "kan fra eller når skal ved også sig efter meget der blev bliver dette denne hvor mig hvad "
          "hvordan kun mange over mere min din være ville nu man noget nogen alle dig sin ud op ind",
    "no": "og at det som en et er på i av for den med ikke til har de jeg om var han hun men så vi du "
          "kan fra eller når skal ved også seg etter mye der ble blir dette denne hvor meg hva hvordan "
          "bare mange over mer min din være ville nå man noe noen alle deg sin ut opp inn ei",
    "fi": "ja on ei se että hän oli en olen mutta joka ovat kun niin myös mitä kuin tai jos minä sinä "
          "me te he tämä ole olla sen ne hänen minun voi nyt vain sitten jotka siitä mukaan kanssa jo "
          "vielä kaikki mikä missä koska hyvin tämän sitä sinun ollut pitää ovatko",
    "pl": "i w na z nie się to jest że do o jak ale za od po przez dla co tak czy są być był była było "
          "jego jej ich ten ta te tego tym tej który która które może jeśli już tylko lub oraz mnie mi "
          "ja ty on ona my wy bardzo też gdy przed pod gdzie kiedy nas jako mam masz ma",
    "cs": "a je v na se to že s z do i o jako ale za si po pro by jsem jsou byl byla bylo být který "
          "která které jeho její jejich ten ta tak jak co už nebo když od při až také není má mám jen "
          "ve ze k ke já ty on ona my vy kde proč velmi může tento tato toto",
    "sk": "a je v na sa to že s z do aj o ako ale za si po pre by som sú bol bola bolo byť ktorý ktorá "
          "ktoré jeho jej ich ten tá tak čo už alebo keď od pri až tiež nie má mám len vo zo k ku ja ty "
          "on ona my vy kde prečo veľmi môže tento táto toto sme",
    "hr": "i u na je se da za od su s nije koji koja koje kao ili ali to ne iz do po bi biti što kako "
          "može svi sve ima imaju nema više samo također ako kada gdje prema te jer već vrlo ovaj ova "
          "ovo smo ste sam bio bila bilo njegov njihov o pri kod",
    "hu": "a az és hogy nem is egy van ez volt de meg csak már mint el ha ki vagy még azt sem kell "
          "lehet minden nagyon ezt itt én te ő mi ti ők ami aki amely után között szerint majd pedig "
          "nincs lesz vannak voltak hogyan mert igen fel le be",
    "ro": "și în de la a că nu cu pe o un este sunt se ce din mai care pentru au fost dar sau ca al ale "
          "lui ei am ai are să fi prin după când foarte acest această acesta eu tu el ea noi voi unei "
          "unui într dintre toate dacă poate cum unde fără către lor",
    "tr": "ve bir bu da de için ile çok ne var daha gibi ama o ben sen biz siz onlar değil mi mı mu mü "
          "kadar olan olarak sonra her en ki şey ise veya hem nasıl neden şu olduğu etmek olur ya bana "
          "sana onun benim senin yok diye göre tarafından iyi olabilir",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada saya kamu anda dia mereka kami "
          "kita ke karena bisa ada atau oleh juga sudah telah adalah sebagai dapat lebih harus seperti "
          "apa siapa bagaimana tersebut banyak orang jika hanya setelah ia saat para secara bahwa",
    "vi": "là và của có không được người cho trong với các một những này để đã tôi bạn anh ông bà họ "
          "chúng khi thì cũng từ như về đến ở nhưng rất nhiều sẽ ra vào hay hoặc nếu làm đó phải hơn vì "
          "theo tại gì ai đang trên việc mà",
    "ca": "el la els les de del un una i és en que per amb no es seu seva com més però aquest aquesta "
          "són ha ser està molt també o sense sobre entre quan hi tot jo meu tu vostè pot si ja em li "
          "perquè què des fins on ens dels al als pel",
    "ru": "и в не на что я он с как это по но они мы она так его за был от у же все или если для из "
          "только мне меня бы вы ты к о до было быть есть нет также может который которая которые при "
          "их ее чтобы когда уже этого этот очень чем где вот",
    "uk": "і в не на що я він з як це по але вони ми вона так його за був від у же всі або якщо для із "
          "тільки мені мене би ви ти до було бути є немає також може який яка які при їх її щоб коли "
          "вже цього цей дуже ніж де та й про під через має",
    "bg": "и в не на че аз той с как това по но те ние тя така го за беше от у е или ако да из само ми "
          "ме би вие ти към до са няма също може който която които при им ѝ когато вече този много си "
          "къде се ще съм сме има като след",
    "sr": "и у не на да ја он са као то по али они ми она тако га за је био од се или ако из само би ви "
          "ти до су нема такође може који која које при их када већ овај врло где сам смо има што након",
    "ar": "في من على أن إلى هذا هذه التي الذي لا ما هو هي كان عن مع أو كل قد ذلك كما بعد لم بين ولكن "
          "يمكن أنا أنت نحن هم إن كانت حيث عند غير ليس أي إذا و هناك",
    "fa": "و در به از که این را با است برای آن یک خود تا بر هم نیز می شود بود شده ما من شما او آنها اما "
          "یا اگر هر باید دارد کند کرد های چه نیست هستند ها نمی کنید",
    "ur": "کے میں کی ہے اور سے کا کو اس کہ نے پر ہیں یہ وہ ایک بھی نہیں تھا تو ہو جو کر لیے گیا ان تھی "
          "آپ ہم",
    "hi": "के में है की और से का को यह कि नहीं पर हैं एक भी इस था ने वह तो हो जो कर लिए गया आप हम मैं "
          "थी अपने साथ या हुए किया ही",
    "mr": "आणि आहे या ते हे तो ती मी की च्या नाही आहेत एक होते होता केले साठी मध्ये तर पण काही असे करून "
          "आम्ही तुम्ही झाला झाली त्या त्यांनी",
    "ne": "छ र को मा यो हो का लागि गर्न हुन् छन् पनि भने गरेको थियो एक त्यो म हामी तपाईं तिनी उनी ले "
          "लाई बाट",
}
# fmt: on

# Scripts of one language, or nearly, by the share of letters that tells it. Japanese writes Han as well.
_SCRIPTS = {
    "ja": (r"[\p{Hiragana}\p{Katakana}]", 0.1),
    "ko": (r"\p{Hangul}", 0.3),
    "zh": (r"\p{Han}", 0.5),
    "el": (r"\p{Greek}", 0.6),
    "he": (r"\p{Hebrew}", 0.5),
    "th": (r"\p{Thai}", 0.5),
    "ta": (r"\p{Tamil}", 0.5),
    "te": (r"\p{Telugu}", 0.5),
    "bn": (r"\p{Bengali}", 0.5),
    "ka": (r"\p{Georgian}", 0.5),
    "hy": (r"\p{Armenian}", 0.5),
}
_NO_WORD_SCRIPT = r"[^\p{Latin}\p{Cyrillic}\p{Arabic}\p{Devanagari}\P{L}]"


def languages(texts: pl.Series) -> pl.Series:
    """The language of each text, by its first 300 characters, in ISO 639-1; null where it is unsure.

    A heuristic: by its script, or by which language's commonest words it has. Null for JSON, for texts of
    a few words, for what is hardly prose, and where two languages are about as likely.

    >>> languages(pl.Series(["Das ist nicht die Antwort auf die Frage.", "ok", None])).to_list()
    ['de', None, None]
    """
    prose = composed(pl.col("text").str.slice(0, _LOOKED_AT)).str.to_lowercase()
    rows = (
        pl.DataFrame({"text": texts.cast(pl.String)})
        .with_row_index("row")
        .filter(pl.col("text").is_not_null() & ~looks_like_json(pl.col("text")))
        .select("row", text=prose)
        .filter(pl.col("text").str.count_matches(_SYMBOL) <= _MOST_SYMBOLS * pl.col("text").str.len_chars())
    )
    foreign = rows.filter(pl.col("text").str.contains(_NO_WORD_SCRIPT))
    found = pl.concat([_by_script(foreign), _by_words(rows)]).unique("row", keep="first", maintain_order=True)
    every = pl.DataFrame({"row": pl.int_range(len(texts), dtype=pl.get_index_type(), eager=True)})
    return every.join(found, on="row", how="left", maintain_order="left")["language"]


def _by_script(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows written in a script that tells their language."""
    letters = pl.col("text").str.count_matches(r"\p{L}")
    tests = [
        pl.when(letters >= _FEWEST_SIGNS, pl.col("text").str.count_matches(signs) >= share * letters).then(
            pl.lit(language)
        )
        for language, (signs, share) in _SCRIPTS.items()
    ]
    return rows.select("row", language=pl.coalesce(tests)).drop_nulls()


def _by_words(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows where one language's words are many, and clearly more than any other's."""
    import numpy as np

    # splitting at spaces takes half as long as finding the words
    spaced = pl.col("text").str.replace_all(r"[^\p{L}\p{M} ]+", " ")
    words = (
        rows.select(pl.int_range(pl.len()).alias("at"), word=spaced.str.split(" "))
        .explode("word")
        .filter(pl.col("word") != "")
    )
    known = words.join(_common_words(), on="word").drop("word")
    every, languages = np.arange(rows.height), sorted(_WORDS)
    place = known["at"].to_numpy() * len(languages) + known["language"].to_numpy()
    weight, hits, long = (
        np.bincount(place, of, rows.height * len(languages)).reshape(-1, len(languages))
        for of in (known["weight"].to_numpy(), None, known["long"].to_numpy())
    )
    count = np.bincount(words["at"].to_numpy(), minlength=rows.height)
    best, second = weight.argmax(axis=1), np.partition(weight, -2, axis=1)[:, -2]
    sure = (
        (count >= _FEWEST_WORDS)
        & (long[every, best] >= _FEWEST_HITS)
        & (hits[every, best] >= _LEAST_SHARE * count)
        & (weight[every, best] >= _LEAD * second)
    )
    found = [languages[at] for at in best[sure]]
    return pl.DataFrame({"row": rows["row"].filter(pl.Series(sure)), "language": found})


@cache
def _common_words() -> pl.DataFrame:
    table = pl.DataFrame(
        [(word, at) for at, (_, words) in enumerate(sorted(_WORDS.items())) for word in set(words.split())],
        schema={"word": pl.String, "language": pl.Int64},
        orient="row",
    )
    return table.with_columns(weight=1 / pl.len().over("word"), long=pl.col("word").str.len_bytes() > 1)
