"""Pages that show a robot no content: shells that need JavaScript, cookie and consent walls, browser checks."""

from __future__ import annotations

import re

from quarry_dagster.extract.words import count_words

_MAX_WORDS = 60
"""A longer text that says such a thing is a text about it."""
_MAX_LENGTH = 10_000
"""Characters of one; what is longer and has so few words is no prose, and phrases are looked for in it for seconds."""

_PHRASES = re.compile(
    "|".join(
        (
            r"(enable|activate|turn on|switch on|allow) (your )?(java ?script|cookies)",
            r"(java ?script|cookies) (is|are|must be|needs? to be|has to be|have to be) "
            r"(\w+ )?(required|disabled|enabled|turned|needed|not enabled|blocked)",
            r"(requires?|needs?|without|support) java ?script",
            r"java ?script.{0,20}(deaktiviert|aktivieren|erforderlich|benötigt)",
            r"(aktivieren sie|bitte).{0,30}java ?script",
            r"(activer|activez|active[rd]?|désactivé).{0,30}java ?script",
            r"java ?script.{0,30}(désactivé|nécessaire|requis)",
            r"(activar|active|activa|habilitar|habilite|habilita|ative|ativar|abilita|abilitare|attiva|attivare)"
            r"( \w+){0,2} java ?script",
            r"java ?script.{0,30}(activado|desactivado|habilitado|deshabilitado|desativado|disabilitato|abilitato)",
            r"java ?script (in te schakelen|is uitgeschakeld|inschakelen)|schakel java ?script in",
            r"(włącz|включите|увімкніть|aktivera|aktiver|povolte|engedélyezze).{0,30}java ?script",
            r"java ?script.{0,10}(включ|отключ|を有効|が無効|を使用)|(启用|啟用|开启|開啟|禁用) ?java ?script",
            r"(we|site|website|page) uses? cookies",
            r"(accept|reject|manage) (all )?(the )?cookies",
            r"(alle )?cookies (akzeptieren|zulassen|accepteren)|accepter (tous )?les cookies",
            r"aceptar (todas )?las cookies|accett\w+ (tutti )?i cookie",
            r"before you continue to \w+",
            r"(verify|verifying|checking|confirm)( that)? (you are|you're|if you are) (a )?(human|not a robot)",
            r"checking your browser",
        )
    ),
    re.IGNORECASE,
)


def is_wall(text: str) -> bool:
    """Whether this is a short text that asks for JavaScript, cookies, consent or a proof of being human."""
    return len(text) < _MAX_LENGTH and count_words(text) < _MAX_WORDS and bool(_PHRASES.search(text))
