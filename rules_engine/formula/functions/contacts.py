"""Addresses and telephone numbers as shops see them: complete or not, real or masked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from config.errors import gettext_noop
from rules_engine.formula.divisions import (
    MUNICIPALITIES,
    OVERSEAS,
    PLACEHOLDERS,
    AddressParts,
    find_province,
    is_undivided,
    split_address,
)
from rules_engine.formula.values import UNKNOWN, Value, ValueType

from .registry import Cost, Parameter, function, text

_ADDRESS: Final = gettext_noop("地址")
_CONTACT: Final = gettext_noop("电话")
_HIDDEN: Final = gettext_noop("平台把省、市、区县都隐藏了（全部为空）时，结果未知")
_LEVELS_BLANK: Final = gettext_noop(
    "空的一级算缺失；各级都为空时结果未知，因为多半是平台隐藏了地址"
)
_MASK: Final = re.compile(r"[*＊●•]|[xX×]{3,}")
_ONE_LINE: Final = {"收货地址": "浙江省杭州市余杭区五常大道 1 号"}


# --- addresses ------------------------------------------------------------------------------------


def list_missing(parts: AddressParts, detail: str | None = None) -> list[str] | None:
    """Name the levels that are missing, None when the whole address is hidden.

    detail: None where nobody asks for it. A masked level is there; we only do not see it.
    """
    province, city, district = (
        _said(part) for part in (parts.province, parts.city, parts.district)
    )
    if not (province or city or district or _said(detail or "")):
        return None
    short = find_province(province) or ""
    missing = []
    if not province:
        missing.append(gettext_noop("省"))
    if short in OVERSEAS:
        if not (city or district):
            missing.append(gettext_noop("市"))
    else:
        # Below a placeholder (省直辖县级行政区划) stands the county itself.
        if not city and not (district and (short in MUNICIPALITIES or _is_placeholder(parts.city))):
            missing.append(gettext_noop("市"))
        if not district and not is_undivided(city):
            missing.append(gettext_noop("区县"))
    if detail is not None and not _said(detail):
        missing.append(gettext_noop("详细地址"))
    return missing


def _said(part: str) -> str:
    written = part.strip()
    return "" if written in PLACEHOLDERS else written


def _is_placeholder(part: str) -> bool:
    return part.strip() in PLACEHOLDERS


def _find_missing(values: Sequence[str]) -> list[str] | None:
    if len(values) == 1:
        parts = split_address(values[0])
        if not values[0].strip() or not _MASK.sub("", values[0]).strip():
            return None
        return list_missing(parts, parts.detail)
    levels = AddressParts(*values[:3])
    return list_missing(levels, values[3] if len(values) > 3 else None)


def _levels() -> tuple[Parameter, ...]:
    return (
        text(gettext_noop("省或整个地址")),
        text(gettext_noop("市"), optional=True),
        text(gettext_noop("区县"), optional=True),
        text(gettext_noop("详细地址"), optional=True),
    )


@function(
    "地址完整",
    "ISADDRESSCOMPLETE",
    *_levels(),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    cost=Cost.TEXT,
    blank=_LEVELS_BLANK,
    unknown=_HIDDEN,
    reading="由{*}组成的地址完整",
    description=gettext_noop(
        "地址有省、市、区县（写了详细地址时也要有）就成立；直辖市不用写市，东莞、中山、儋州、嘉峪关等"
        "不设区县的城市和县级市不用写区县；被星号遮住的一级算有。也可以只给一个写在一行里的地址。"
    ),
    examples=[
        ('地址完整("浙江省","杭州市","余杭区")', True),
        ('地址完整("浙江省","杭州市","")', False),
        ('ISADDRESSCOMPLETE("广东省","东莞市","")', True),
        ('地址完整("北京市","","海淀区")', True),
        ('地址完整("","","")', UNKNOWN),
        ("地址完整(收货地址)", True, _ONE_LINE),
    ],
)
def is_address_complete(*values: str) -> Value:
    """Tell whether no level is missing."""
    missing = _find_missing(values)
    return UNKNOWN if missing is None else not missing


@function(
    "地址缺失部分",
    "MISSINGADDRESSPARTS",
    *_levels(),
    result=ValueType.TEXT,
    topic=_ADDRESS,
    cost=Cost.TEXT,
    blank=_LEVELS_BLANK,
    unknown=_HIDDEN,
    reading="由{*}组成的地址缺少的部分",
    description=gettext_noop(
        "地址缺少哪几级，用顿号隔开；完整时得出空文本。参数与 地址完整 相同。"
    ),
    examples=[
        ('地址缺失部分("浙江省","","")', "市、区县"),
        ('MISSINGADDRESSPARTS("重庆市","","渝中区")', ""),
        ('地址缺失部分("浙江省","杭州市","余杭区","")', "详细地址"),
    ],
)
def name_missing_parts(*values: str) -> Value:
    """Name the missing levels."""
    missing = _find_missing(values)
    return UNKNOWN if missing is None else "、".join(missing)


def _declare_part(zh: str, en: str, part: str, description: str, expected: str) -> None:
    @function(
        zh,
        en,
        text("地址"),
        result=ValueType.TEXT,
        topic=_ADDRESS,
        cost=Cost.TEXT,
        blank=gettext_noop("没有写这一级时得出空文本"),
        reading="{0}里的" + zh.removeprefix("地址"),
        description=description,
        examples=[(f"{zh}(收货地址)", expected, _ONE_LINE), (f'{en}("")', "")],
    )
    def take_part(value: str) -> str:
        """One level of an address in one line."""
        return str(getattr(split_address(value), part))


_declare_part(
    "地址省", "ADDRESSPROVINCE", "province", gettext_noop("一行地址里的省，写全称。"), "浙江省"
)
_declare_part("地址市", "ADDRESSCITY", "city", gettext_noop("一行地址里的市。"), "杭州市")
_declare_part(
    "地址区县",
    "ADDRESSDISTRICT",
    "district",
    gettext_noop("一行地址里的区、县或县级市。"),
    "余杭区",
)
_declare_part(
    "地址详情",
    "ADDRESSDETAIL",
    "detail",
    gettext_noop("一行地址里省、市、区县之后的部分，空格去掉。"),
    "五常大道1号",
)


@function(
    "省份有效",
    "ISPROVINCE",
    text("省"),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    blank=gettext_noop("空值不是省份，得出“否”"),
    reading="{0}是真实的省份",
    description=gettext_noop("是中国 34 个省级行政区之一时成立，全称和简称都可以。"),
    examples=[
        ('省份有效("浙江")', True),
        ('ISPROVINCE("浙江省")', True),
        ('省份有效("火星省")', False),
    ],
)
def is_province(value: str) -> bool:
    """Tell whether a text names a province."""
    return find_province(value) is not None


@function(
    "是直辖市",
    "ISMUNICIPALITY",
    text("省或市"),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    blank=gettext_noop("空值得出“否”"),
    reading="{0}是直辖市",
    description=gettext_noop("是北京、天津、上海、重庆之一时成立。"),
    examples=[('是直辖市("上海市")', True), ('ISMUNICIPALITY("杭州市")', False)],
)
def is_municipality(value: str) -> bool:
    """Tell whether a text names one of the four municipalities."""
    return find_province(value) in MUNICIPALITIES


@function(
    "不设区县",
    "ISUNDIVIDEDCITY",
    text("市"),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    blank=gettext_noop("空值得出“否”"),
    reading="{0}不设区县",
    description=gettext_noop(
        "东莞、中山、儋州、嘉峪关等不设区县的城市，以及写在市一级的县级市和县，成立。"
    ),
    examples=[('不设区县("东莞市")', True), ('ISUNDIVIDEDCITY("杭州市")', False)],
)
def is_city_undivided(value: str) -> bool:
    """Tell whether an address needs no district below this city."""
    return is_undivided(value)


_HOUSE_NUMBER: Final = re.compile(
    r"[0-9０-９一二三四五六七八九十百零〇]+[号號弄栋幢座室楼层单组队户#]|[0-9０-９]+-[0-9０-９]+|[A-Za-z]座"
    r"|[0-9０-９]{2,}$"
)


@function(
    "有门牌",
    "HASHOUSENUMBER",
    text("详细地址"),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    cost=Cost.TEXT,
    blank=gettext_noop("空值得出“否”"),
    unknown=gettext_noop("地址被星号遮住又看不到门牌时，结果未知"),
    reading="{0}里有门牌号",
    description=gettext_noop("地址里有 8 号、3 幢、12 楼、5-201 这样的门牌时成立。"),
    examples=[
        ('有门牌("五常大道 1 号")', True),
        ('HASHOUSENUMBER("五常大道")', False),
        ('有门牌("天府大******")', UNKNOWN),
    ],
)
def has_house_number(value: str) -> Value:
    """Tell whether a house number stands in the address."""
    if _HOUSE_NUMBER.search(value.replace(" ", "")):
        return True
    return UNKNOWN if _MASK.search(value) else False


_PICKUP: Final = re.compile(
    r"自提|驿站|代收点|代收处|快递柜|智能柜|丰巢|速递易|菜鸟|妈妈店|兔喜|蜂巢|云柜|近邻宝|多多买菜|团长"
)


@function(
    "是自提点",
    "ISPICKUPPOINT",
    text("地址"),
    result=ValueType.LOGICAL,
    topic=_ADDRESS,
    cost=Cost.TEXT,
    blank=gettext_noop("空值得出“否”"),
    unknown=gettext_noop("地址被星号遮住又看不出来时，结果未知"),
    reading="{0}是自提点",
    description=gettext_noop("地址里写了自提、驿站、代收点、快递柜、丰巢、菜鸟等时成立。"),
    examples=[
        ('是自提点("仓前街道菜鸟驿站 3 号")', True),
        ('ISPICKUPPOINT("五常大道 1 号")', False),
        ('是自提点("天府大******")', UNKNOWN),
    ],
)
def is_pickup_point(value: str) -> Value:
    """Tell whether parcels go to a pick-up point."""
    if _PICKUP.search(value):
        return True
    return UNKNOWN if _MASK.search(value) else False


@function(
    "有遮挡",
    "ISMASKED",
    text("文本"),
    result=ValueType.LOGICAL,
    topic=_CONTACT,
    cost=Cost.TEXT,
    blank=gettext_noop("空值没有遮挡，得出“否”"),
    reading="{0}被遮挡",
    description=gettext_noop("文本里有星号等遮挡（138****1234、张**、天府大******）时成立。"),
    examples=[('有遮挡("138****1234")', True), ('ISMASKED("13800138000")', False)],
)
def is_masked(value: str) -> bool:
    """Tell whether a platform has hidden part of a text."""
    return _MASK.search(value) is not None


# --- telephone numbers ----------------------------------------------------------------------------

# Number ranges of mainland operators (MIIT); data cards with 13 digits are no telephones.
_MOBILE: Final = re.compile(r"1(?:3[0-9]|4[5-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])[0-9]{8}")
_MOBILE_HEAD: Final = re.compile(
    r"1(?:3[0-9]?|4[5-9]?|5[0-35-9]?|6[2567]?|7[0-8]?|8[0-9]?|9[0-35-9]?)?"
)
_LANDLINE: Final = re.compile(
    r"(?:\(?0(?:10|2[0-9]|[3-9][0-9]{2})\)?-?)[2-8][0-9]{6,7}|[48]00-?[0-9]{3}-?[0-9]{4}|9[56][0-9]{3,6}"
)
_EXTENSION: Final = re.compile(r"(?:[-_,;#转]+(?:分机)?|ext\.?|分机)([0-9]{1,6})$", re.IGNORECASE)
_COUNTRY: Final = re.compile(r"^(?:\+|00)?86[- ]?(?=1[0-9*＊]|0|[48]00)")
_FOLD: Final = str.maketrans("０１２３４５６７８９＋－—–（），；＃＊●•", "0123456789+---(),;#***")


def _clean_number(value: str) -> str:
    """Bring a number into plain digits: no country code, no extension, nothing between."""
    written = value.translate(_FOLD).replace(" ", "").replace("\u3000", "")
    written = _COUNTRY.sub("", written)
    grouped = written.replace("-", "")
    if _MOBILE.fullmatch(grouped):  # before extensions: 138-0013-8000 has none
        return grouped
    written = _EXTENSION.sub("", written) if _EXTENSION.search(written, 8) else written
    grouped = written.replace("-", "")
    return grouped if _MOBILE.fullmatch(grouped) else written


def _judge_mobile(value: str) -> Value:
    number = _clean_number(value)
    if "*" in number or (len(number) == 11 and re.search(r"[xX]{3,}", number)):
        return _judge_masked(re.sub(r"[xX]", "*", number).replace("-", ""))
    return _MOBILE.fullmatch(number) is not None


def _judge_masked(number: str) -> Value:
    """A masked number is good when nothing visible speaks against it and enough is visible."""
    head = number.partition("*")[0]
    if not re.fullmatch(r"[0-9*]+", number) or (head and not _fits(head)):
        return False
    if len(number) == 11 and len(head) >= 3:
        return True
    return UNKNOWN


def _fits(head: str) -> bool:
    return _MOBILE_HEAD.fullmatch(head[:3]) is not None


_NUMBER_UNKNOWN: Final = gettext_noop("遮挡得看不出是不是手机号时，结果未知")


@function(
    "手机号有效",
    "ISMOBILE",
    text("电话"),
    result=ValueType.LOGICAL,
    topic=_CONTACT,
    cost=Cost.TEXT,
    blank=gettext_noop("空值不是手机号，得出“否”"),
    unknown=_NUMBER_UNKNOWN,
    reading="{0}是有效的手机号",
    description=gettext_noop(
        "是中国大陆手机号时成立：可以有 +86、空格和横线，可以带隐私号的分机（13800138000-1234）；"
        "被星号遮住的（138****1234）看得见的部分对就成立。"
    ),
    examples=[
        ('手机号有效("13800138000")', True),
        ('手机号有效("138****1234")', True),
        ('手机号有效("13800138000-1234")', True),
        ('ISMOBILE("+86 138 0013 8000")', True),
        ('手机号有效("12345678901")', False),
        ('手机号有效("***********")', UNKNOWN),
    ],
)
def is_mobile(value: str) -> Value:
    """Tell whether a text is a mobile number of mainland China."""
    return _judge_mobile(value)


@function(
    "电话有效",
    "ISPHONE",
    text("电话"),
    result=ValueType.LOGICAL,
    topic=_CONTACT,
    cost=Cost.TEXT,
    blank=gettext_noop("空值不是电话，得出“否”"),
    unknown=_NUMBER_UNKNOWN,
    reading="{0}是有效的电话",
    description=gettext_noop("是手机号、带区号的座机，或 400、800、95 号码时成立。"),
    examples=[
        ('电话有效("0571-88888888")', True),
        ('ISPHONE("400-820-8820")', True),
        ('电话有效("88888888")', False),
    ],
)
def is_phone(value: str) -> Value:
    """Tell whether a text is a telephone number of mainland China."""
    judged = _judge_mobile(value)
    return judged if judged is not False else _LANDLINE.fullmatch(_clean_number(value)) is not None


@function(
    "是虚拟号",
    "ISVIRTUALNUMBER",
    text("电话"),
    result=ValueType.LOGICAL,
    topic=_CONTACT,
    cost=Cost.TEXT,
    blank=gettext_noop("空值得出“否”"),
    reading="{0}是平台的虚拟号",
    description=gettext_noop(
        "手机号后面带分机（13800138000-1234、13800138000转1234）时成立：平台的隐私号，过期后打不通。"
    ),
    examples=[('是虚拟号("13800138000-1234")', True), ('ISVIRTUALNUMBER("13800138000")', False)],
)
def is_virtual_number(value: str) -> bool:
    """Tell whether a mobile number carries an extension, as platforms' privacy numbers do."""
    written = _COUNTRY.sub("", value.translate(_FOLD).replace(" ", ""))
    return _EXTENSION.search(written, 8) is not None and bool(_judge_mobile(value))
