"""Whether an answer is a refusal: a heuristic, by its finish reason and its first words."""

import polars as pl

from mirrorkit.compare.answers.kinds import kind, ok

REFUSING = ("content_filter", "refusal", "safety")
"""Finish reasons that tell of a refusal, in lower case."""

_VERBS = (
    r"(?:help|assist|answer|comply|provide|fulfill?|do (?:that|this)|discuss|engage|support|create|generate"
    r"|write|share|give|offer|produce|respond|continue|participate|process|complete|carry out|accommodate)\b"
)
_CANNOT = (
    r"(?:can(?:not|['’]t| not)|(?:am|are|['’]m|['’]re) (?:unable|not able|not allowed|not permitted) to"
    r"|(?:won['’]t|will not)(?: be able to)?|(?:must|have to) decline to)"
)
_REGRET = (
    r"(?:(?:(?:i|we|i['’]m|i am|we['’]re|we are|my|very|so|truly|really|sincerely|deeply) ){0,4}"
    r"(?:sorry|apologi[sz]e|apologies|unfortunately|regret)\b[^.!?\n]{0,30}?[,.!:;—–-]? ?)"
)
_OPENINGS = (
    # English
    rf"{_REGRET}?(?:but |as an ai[^,\n]{{0,40}}, )?(?:i|we) ?{_CANNOT} (?:\w+ly )?{_VERBS}",
    rf"{_REGRET}but (?:i|we) ?{_CANNOT}\b",
    rf"(?:i['’]m |i am )?(?:very |so |truly )?sorry, (?:i|we) ?{_CANNOT}\b",
    r"(?:i|we) (?:must|have to) (?:respectfully |politely )?(?:decline|refuse)\b",
    rf"as an? (?:ai|artificial intelligence|language model)\b[^.\n]{{0,60}}\b{_CANNOT}\b",
    # German
    r"(?:es )?tut mir (?:sehr )?leid,? [^.\n]{0,20}\b(?:kann|darf|werde)\b[^.\n]{0,80}\bnicht\b",
    r"(?:leider |entschuldigung,? (?:aber )?)?(?:ich )?(?:kann|darf|werde) (?:ich )?"
    r"(?:(?:ihnen|dir|dabei|damit|das|hier|leider|diese\w*|solche\w*|anfrage) ){0,4}nicht\b[^.\n]{0,30}"
    r"\b(?:helfen|weiterhelfen|unterstützen|beantworten|erfüllen|bereitstellen|geben|erstellen|nachkommen)",
    # French
    r"(?:je suis |nous sommes )?(?:vraiment |sincèrement )?désolée?s?,? (?:mais )?(?:je|nous) ne p\w+",
    r"(?:malheureusement,? )?je (?:ne )?(?:peux|puis) (?:malheureusement )?pas "
    r"(?:vous |t['’])?(?:aider|répondre|fournir|générer|créer)",
    # Spanish, Portuguese, Italian
    r"(?:lo siento|lo lamento|disculp\w+|perdon\w*)[^.\n]{0,20}\bno (?:puedo|podemos)\b",
    r"no puedo (?:ayudar|asistir|responder|proporcionar|cumplir|generar|crear)",
    r"(?:me )?(?:desculp\w+|sinto muito|lamento)[^.\n]{0,20}\bnão (?:posso|podemos)\b",
    r"não posso (?:ajudar|responder|fornecer|gerar|criar|atender)",
    r"(?:mi dispiace|mi spiace|spiacente)[^.\n]{0,20}\bnon (?:posso|possiamo)\b",
    r"non posso (?:aiutar|rispondere|fornire|generare|creare)",
    # Dutch, Polish, Swedish
    r"(?:het )?spijt me,? (?:maar )?[^.\n]{0,20}\bkan\b[^.\n]{0,30}\bniet\b",
    r"(?:przepraszam|przykro mi)[^.\n]{0,20}\bnie (?:mogę|jestem w stanie)\b",
    r"(?:tyvärr|jag är ledsen|förlåt)[^.\n]{0,20}\bkan\b[^.\n]{0,20}\binte\b",
    # Russian, Ukrainian
    r"(?:извините|простите|к сожалению|прошу прощения)[^.\n]{0,20}\bне (?:могу|можем)\b",
    r"я не могу (?:помочь|ответить|предоставить|выполнить|создать)",
    r"(?:вибачте|на жаль|перепрошую)[^.\n]{0,20}\bне можу\b",
    # Chinese, Japanese, Korean
    r"(?:很?抱歉|对不起|對不起|不好意思)[^。\n]{0,20}(?:无法|無法|不能)",
    r"我(?:无法|無法|不能)(?:提供|回答|协助|協助|帮助|幫助|满足|滿足)",
    r"申し訳(?:ありません|ございません)[^。\n]{0,30}(?:できません|できかねます|いたしかねます)",
    r"(?:죄송|미안)[^.\n]{0,40}(?:수 없|어렵습니다)",
)
_LOOKED_AT = 300
_REFUSAL = r"(?i)^[\s\p{P}\p{So}]*(?:" + "|".join(_OPENINGS) + ")"


def refused(side: str) -> pl.Expr:
    """Whether a side's answer is a refusal; null where it is not ok, or nothing is known of its answer.

    A heuristic, where it was not recorded as one: its finish reason says so, or its text begins with one of
    the usual phrases, in English or another of a dozen languages. It misses refusals worded otherwise; an
    answer that begins as a refusal does and then helps counts as one. A blank answer is none.

    >>> frame = pl.DataFrame({
    ...     "call_type": None, "silent_status": "ok", "silent_output_kind": None,
    ...     "silent_finish_reason": "stop", "silent_tool_calls": None,
    ...     "silent_output": ["I'm sorry, but I can't help with that.", "I'm sorry to hear that! Rest well."],
    ... }, schema_overrides=dict.fromkeys(
    ...     ("call_type", "silent_output_kind", "silent_tool_calls"), pl.String))
    >>> frame.select(refused("silent")).to_series().to_list()
    [True, False]
    """
    text = pl.col(f"{side}_output").str.slice(0, _LOOKED_AT)
    reason = pl.col(f"{side}_finish_reason").str.to_lowercase()
    signs = kind(side) == "refusal", reason.is_in(REFUSING), text.str.contains(_REFUSAL)
    said = pl.any_horizontal(sign.fill_null(False) for sign in signs)
    known = said | kind(side).is_not_null() | text.is_not_null()
    return pl.when(ok(side) & known).then(said)
