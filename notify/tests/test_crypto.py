"""Keys that rotate, ciphertext bound to its place, and the keyed hash."""

import pytest
from cryptography.fernet import Fernet

from notify import crypto

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


@pytest.fixture
def keys(settings):
    """Set ENCRYPTION_KEYS."""

    def use(*names: str) -> None:
        settings.ENCRYPTION_KEYS = list(names)

    use(OLD)
    return use


PAIRS = {
    "fernet": (crypto.encrypt, crypto.decrypt),
    "sealed": (lambda plain: crypto.seal(plain, b"place"), lambda token: crypto.unseal(token, b"place")),
}


@pytest.fixture(params=list(PAIRS))
def pair(request):
    """Encrypting and decrypting, in both forms."""
    return PAIRS[request.param]


@pytest.mark.parametrize("plain", [b"", b"x", bytes(range(256)), "é – 👍".encode(), b"long" * 50_000])
def test_what_was_encrypted_comes_back(keys, pair, plain):
    encrypt, decrypt = pair
    assert decrypt(encrypt(plain)) == plain
    assert decrypt(memoryview(encrypt(plain)).tobytes()) == plain


def test_the_same_text_never_looks_the_same_and_is_never_readable(keys, pair):
    encrypt, _ = pair
    first, second = encrypt(b"07700900123"), encrypt(b"07700900123")
    assert first != second
    assert b"07700900123" not in first + second


def test_an_old_key_is_read_while_the_new_one_writes(keys, pair):
    encrypt, decrypt = pair
    old = encrypt(b"text")
    keys(NEW, OLD)
    assert decrypt(old) == b"text"
    new = encrypt(b"text")
    keys(NEW)
    assert decrypt(new) == b"text"
    with pytest.raises(crypto.Unreadable):
        decrypt(old)


def test_the_order_of_the_keys_decides_which_one_writes(keys, pair):
    encrypt, decrypt = pair
    keys(OLD, NEW)
    written = encrypt(b"text")
    keys(NEW)
    with pytest.raises(crypto.Unreadable):
        decrypt(written)


def test_a_key_that_is_not_in_the_list_opens_nothing(keys, pair):
    encrypt, decrypt = pair
    written = encrypt(b"text")
    keys(OTHER, NEW)
    with pytest.raises(crypto.Unreadable, match="ENCRYPTION_KEYS"):
        decrypt(written)


@pytest.mark.parametrize("place", [0, 4, 20, -1])
def test_a_changed_byte_is_noticed(keys, pair, place):
    encrypt, decrypt = pair
    changed = bytearray(encrypt(b"some longer text"))
    changed[place] ^= 1
    with pytest.raises(crypto.Unreadable):
        decrypt(bytes(changed))


@pytest.mark.parametrize("rubbish", [b"", b"abc", b"\x00" * 16, b"not encrypted at all, but long enough to be"])
def test_what_was_never_encrypted_is_unreadable(keys, pair, rubbish):
    _, decrypt = pair
    with pytest.raises(crypto.Unreadable):
        decrypt(rubbish)


@pytest.mark.parametrize("cut", [4, 10, 16, 17, 31])
def test_a_cut_off_seal_is_unreadable(keys, cut):
    with pytest.raises(crypto.Unreadable):
        crypto.unseal(crypto.seal(b"some longer text", b"place")[:cut], b"place")


@pytest.mark.parametrize("elsewhere", [b"", b"Place", b"place ", b"other row"])
def test_a_seal_opens_in_its_own_place_only(keys, elsewhere):
    with pytest.raises(crypto.Unreadable, match="another row"):
        crypto.unseal(crypto.seal(b"text", b"place"), elsewhere)


def test_the_search_hash_is_steady_keyed_and_short(settings):
    settings.SEARCH_HASH_KEY = "one"
    first = crypto.search_hash("+447700900123")
    assert first == crypto.search_hash("+447700900123")
    assert len(first) == 32
    assert int(first, 16) >= 0
    assert first != crypto.search_hash("+447700900124")
    settings.SEARCH_HASH_KEY = "two"
    assert first != crypto.search_hash("+447700900123")
    assert crypto.search_hash("") != crypto.search_hash(" ")


def test_no_message_of_an_error_holds_the_value(keys):
    sealed = crypto.seal(b"07700900123", b"place")
    with pytest.raises(crypto.Unreadable) as caught:
        crypto.unseal(sealed, b"elsewhere")
    assert "07700900123" not in str(caught.value)
