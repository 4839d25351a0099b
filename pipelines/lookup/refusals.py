"""Why a look-up gets no customer, in plain words; none of them repeats what was asked for."""

from __future__ import annotations

REFUSALS: dict[str, tuple[int, str]] = {
    "key.missing": (401, "Say who you are: Authorization: Bearer <key>. kefulake lookup add-key makes one."),
    "key.unknown": (401, "Nobody has this key (any more). kefulake lookup add-key makes another."),
    "keys.unusable": (
        503,
        "The file of keys cannot be used: kefulake lookup keys says why.",
    ),
    "role.not_allowed": (403, "Your role does not see customers by name (policy roles)."),
    "question.malformed": (400, "Ask by a customer ID (c_… or p_…), or POST /customers/search with one identifier."),
    "identifier.says_nothing": (400, "This is what people type to get past a form: it identifies nobody."),
    "body.too_large": (413, "A question is a JSON object with one identifier."),
    "customer.unknown": (404, "Nobody is known under that."),
    "identifier.shared": (
        409,
        "More than one customer holds this identifier, so it leads to none of them. Ask for another one: the member "
        "number, or the customer ID.",
    ),
    "database.unavailable": (503, "The customers cannot be read right now. kefulake status"),
    "view.not_served": (503, "No 360° view has been served yet: build gold, then kefulake lookup publish."),
    "audit.unavailable": (503, "The look-up cannot be written down, so nothing is shown. kefulake status"),
    "too_busy": (503, "Too many look-ups wait; try again in a moment. Nothing was shown."),
}


class NotAnswered(Exception):
    """A look-up that gets no customer; `error` is a key of REFUSALS, `detail` says more without personal values."""

    def __init__(self, error: str, detail: str = ""):
        super().__init__(error)
        self.error, self.detail = error, detail
        self.status, self._says = REFUSALS[error]

    def body(self) -> dict[str, str]:
        """As the answer carries it.

        >>> NotAnswered("customer.unknown").body()
        {'error': 'customer.unknown', 'says': 'Nobody is known under that.'}
        """
        told = {"error": self.error, "says": self._says}
        return told | {"detail": self.detail} if self.detail else told
