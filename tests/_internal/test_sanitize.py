"""What is shown holds no secret, stays on its line, and gives durations in minutes and seconds."""

from __future__ import annotations

import pytest

from mat_vis_hub._internal import sanitize
from mat_vis_hub._internal.sanitize import elapsed, one_line, one_word, register_secret, without_secrets

TOKEN = "hf_" + "aB3" * 11 + "x"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiI2MTIzIiwiaXNzIjoiaHR0cHMifQ.c2lnbmF0dXJl-X_1"


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch):
    monkeypatch.setattr(sanitize, "_secrets", {})


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0m0s"), (59.999, "0m59s"), (725, "12m5s"), (4500, "75m0s"), (-1, "0m0s")]
)
def test_elapsed_is_minutes_and_whole_seconds(seconds, words):
    assert elapsed(seconds) == words


class TestSecrets:
    @pytest.mark.parametrize(
        "secret",
        [TOKEN, f"hf_oauth_{JWT}", f"hf_jwt_{JWT}", f"hf_oauth_{'aB_3-' * 8}", "api_org_" + "x" * 34, JWT],
    )
    def test_what_looks_like_a_token_is_blanked(self, secret):
        assert without_secrets(f"before {secret} after") == "before *** after"
        assert without_secrets(f"source={secret}") == "source=***"

    @pytest.mark.parametrize("text", ["hf_datasets", "hf_my_very_long_dataset_name_of_materials", "eyJ.eyJ", "a@b.c"])
    def test_ordinary_words_are_kept(self, text):
        assert without_secrets(text) == text

    def test_the_credentials_of_a_url_are_blanked(self):
        assert without_secrets("redis://user:pa55@cache:6379/0") == "redis://***@cache:6379/0"

    def test_the_token_of_an_authorization_header_is_blanked(self):
        assert without_secrets("{'authorization': 'Bearer s3cret'}") == "{'authorization': 'Bearer ***'}"

    def test_given_secrets_are_blanked_whatever_their_length(self):
        assert without_secrets("a s3cret b", ["s3cret", None, False, ""]) == "a *** b"

    def test_a_registered_secret_is_blanked_from_then_on(self):
        assert without_secrets("my own secret") == "my own secret"
        register_secret("my own secret")
        assert without_secrets("it is my own secret!") == "it is ***!"

    @pytest.mark.parametrize("value", ["", "hf_x", "texture", None, True, 12345678])
    def test_short_strings_and_other_values_cannot_be_registered(self, value):
        register_secret(value)
        assert without_secrets("hf_x texture True 12345678") == "hf_x texture True 12345678"

    def test_a_secret_that_contains_another_is_blanked_whole(self):
        register_secret("password")
        register_secret("password-and-more")
        assert without_secrets("password-and-more") == "***"

    def test_the_newest_thousand_are_kept(self):
        for number in range(1001):
            register_secret(f"secret-{number:04}")
        assert without_secrets("secret-1000 secret-0001 secret-0000") == "*** *** secret-0000"

    @pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
    def test_the_token_of_the_environment_is_blanked(self, monkeypatch, name):
        monkeypatch.setenv(name, " corporate-proxy-token\n")
        assert without_secrets("source=corporate-proxy-token") == "source=***"

    def test_the_token_that_hf_auth_login_stored_is_blanked(self, monkeypatch, tmp_path):
        (tmp_path / "token").write_text("stored-by-login")
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
        assert without_secrets("source=stored-by-login") == "source=***"

    def test_a_short_token_of_the_environment_is_not(self, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf")
        assert without_secrets("hf_texture") == "hf_texture"


class TestOneLine:
    def test_nothing_begins_a_line_moves_the_cursor_or_changes_the_direction(self):
        text = "a\nb\r\nc\x85d\u2028e\u2029f\x0bg\x0ch\x1ci\x1b[2Kj\u202ek\x00l\ud800m\u2066n\u200bo"
        assert one_line(text) == "a b  c d e f g h i [2Kj k l m n o"

    def test_letters_of_all_scripts_are_kept(self):
        assert one_line("材质库 Größe حجر") == "材质库 Größe حجر"

    def test_secrets_are_blanked(self):
        assert one_line(f"{TOKEN}\n") == "*** "


class TestOneWord:
    @pytest.mark.parametrize(
        ("value", "word"),
        [
            ("you/textures", "you/textures"),
            ("two words", "two_words"),
            ("a wait_s=1.0", "a_wait_s=1.0"),
            ("x\nbake_done", "x_bake_done"),
            ("a\u3164b\u2800c\u115fd\u1160e\uffa0f\u00a0g\u3000h", "a_b_c_d_e_f_g_h"),
            ("", "unknown"),
            (None, "None"),
            (409, "409"),
        ],
    )
    def test_has_no_white_space(self, value, word):
        assert one_word(value) == word

    def test_is_no_longer_than_200_characters(self):
        assert one_word("x" * 100_000) == "x" * 200

    def test_a_secret_at_the_cut_is_not_shown_in_part(self):
        assert one_word("x" * 190 + TOKEN) == "x" * 190 + "***"

    def test_a_secret_with_white_space_is_found(self):
        register_secret("correct horse battery")
        assert one_word("a correct horse battery") == "a_***"
