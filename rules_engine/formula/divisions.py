"""China's administrative divisions as far as an address needs them: provinces, cities, what has
no districts. Data of the National Bureau of Statistics, division codes of 2023.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


def _split(names: str) -> frozenset[str]:
    return frozenset(names.split())


MUNICIPALITIES: Final = _split("北京 天津 上海 重庆")
_REGIONS: Final = {  # written short, and what completes the name
    **dict.fromkeys(MUNICIPALITIES, "市"),
    **dict.fromkeys(
        _split(
            "河北 山西 辽宁 吉林 黑龙江 江苏 浙江 安徽 福建 江西 山东 河南 湖北 湖南 广东 海南 "
            "四川 贵州 云南 陕西 甘肃 青海 台湾"
        ),
        "省",
    ),
    "内蒙古": "自治区",
    "西藏": "自治区",
    "广西": "壮族自治区",
    "宁夏": "回族自治区",
    "新疆": "维吾尔自治区",
    "香港": "特别行政区",
    "澳门": "特别行政区",
}
OVERSEAS: Final = _split("香港 澳门 台湾")  # addressed without our three levels
_PROVINCE_NAMES: Final = {
    written: short
    for short, ending in _REGIONS.items()
    for written in (short, short + ending, short + ending[-3:], short + "省")
}
# What statistics write where there is no city or no district.
PLACEHOLDERS: Final = _split(
    "市辖区 县 省直辖县级行政区划 自治区直辖县级行政区划 省直辖县 直辖县级 其他 其它 无 暂无 - —"
)

# Prefecture-level cities without districts, and what provinces administer directly below them
# (National Bureau of Statistics, division codes of 2023; 4419, 4420, 4604, 6202, xx90).
_UNDIVIDED: Final = _split(
    "东莞 中山 儋州 嘉峪关 "
    "济源 仙桃 潜江 天门 神农架林区 "
    "五指山 琼海 文昌 万宁 东方 定安县 屯昌县 澄迈县 临高县 白沙黎族自治县 昌江黎族自治县 "
    "乐东黎族自治县 陵水黎族自治县 保亭黎族苗族自治县 琼中黎族苗族自治县 三沙 "
    "石河子 阿拉尔 图木舒克 五家渠 北屯 铁门关 双河 可克达拉 昆玉 胡杨河 新星 白杨"
)
# Prefecture-level cities that have districts or counties: without one the address is incomplete.
_DIVIDED: Final = _split(
    "北京 天津 上海 重庆 "
    "石家庄 唐山 秦皇岛 邯郸 邢台 保定 张家口 承德 沧州 廊坊 衡水 "
    "太原 大同 阳泉 长治 晋城 朔州 晋中 运城 忻州 临汾 吕梁 "
    "呼和浩特 包头 乌海 赤峰 通辽 鄂尔多斯 呼伦贝尔 巴彦淖尔 乌兰察布 "
    "沈阳 大连 鞍山 抚顺 本溪 丹东 锦州 营口 阜新 辽阳 盘锦 铁岭 朝阳 葫芦岛 "
    "长春 吉林 四平 辽源 通化 白山 松原 白城 "
    "哈尔滨 齐齐哈尔 鸡西 鹤岗 双鸭山 大庆 伊春 佳木斯 七台河 牡丹江 黑河 绥化 "
    "南京 无锡 徐州 常州 苏州 南通 连云港 淮安 盐城 扬州 镇江 泰州 宿迁 "
    "杭州 宁波 温州 嘉兴 湖州 绍兴 金华 衢州 舟山 台州 丽水 "
    "合肥 芜湖 蚌埠 淮南 马鞍山 淮北 铜陵 安庆 黄山 滁州 阜阳 宿州 六安 亳州 池州 宣城 "
    "福州 厦门 莆田 三明 泉州 漳州 南平 龙岩 宁德 "
    "南昌 景德镇 萍乡 九江 新余 鹰潭 赣州 吉安 宜春 抚州 上饶 "
    "济南 青岛 淄博 枣庄 东营 烟台 潍坊 济宁 泰安 威海 日照 临沂 德州 聊城 滨州 菏泽 "
    "郑州 开封 洛阳 平顶山 安阳 鹤壁 新乡 焦作 濮阳 许昌 漯河 三门峡 南阳 商丘 信阳 周口 驻马店 "
    "武汉 黄石 十堰 宜昌 襄阳 鄂州 荆门 孝感 荆州 黄冈 咸宁 随州 "
    "长沙 株洲 湘潭 衡阳 邵阳 岳阳 常德 张家界 益阳 郴州 永州 怀化 娄底 "
    "广州 韶关 深圳 珠海 汕头 佛山 江门 湛江 茂名 肇庆 惠州 梅州 汕尾 河源 阳江 清远 潮州 揭阳 云浮 "
    "南宁 柳州 桂林 梧州 北海 防城港 钦州 贵港 玉林 百色 贺州 河池 来宾 崇左 海口 三亚 "
    "成都 自贡 攀枝花 泸州 德阳 绵阳 广元 遂宁 内江 乐山 南充 眉山 宜宾 广安 达州 雅安 巴中 资阳 "
    "贵阳 六盘水 遵义 安顺 毕节 铜仁 昆明 曲靖 玉溪 保山 昭通 丽江 普洱 临沧 "
    "拉萨 日喀则 昌都 林芝 山南 那曲 西安 铜川 宝鸡 咸阳 渭南 延安 汉中 榆林 安康 商洛 "
    "兰州 金昌 白银 天水 武威 张掖 平凉 酒泉 庆阳 定西 陇南 西宁 海东 "
    "银川 石嘴山 吴忠 固原 中卫 乌鲁木齐 克拉玛依 吐鲁番 哈密"
)


def is_undivided(city: str) -> bool:
    """Whether an address needs no district below this city.

    True for cities without districts and for a county-level place written where the city stands:
    anything that ends in 市 or 县 and is not a prefecture-level city with districts.
    """
    name = city.strip()
    short = name.removesuffix("市")
    if short in _UNDIVIDED or name in _UNDIVIDED:
        return True
    if short in _DIVIDED or name.endswith(("自治州", "地区", "盟")):
        return False
    return name.endswith(("市", "县", "旗", "林区"))


def find_province(text: str) -> str | None:
    """Return the short name of the province a name means in full or short: 浙江 for 浙江省."""
    return _PROVINCE_NAMES.get(text.strip())


def full_province(short: str) -> str:
    """Return the full name of a province: 浙江省."""
    return short + _REGIONS[short]


# --- an address in one line -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddressParts:
    """What an address in one line says; "" for a level it does not name."""

    province: str = ""
    city: str = ""
    district: str = ""
    detail: str = ""


_BY_LENGTH: Final = sorted(_PROVINCE_NAMES, key=len, reverse=True)
_PREFECTURE: Final = re.compile(r"[\u4e00-\u9fff]{2,10}?(?:自治州|地区|盟)")
_COUNTY: Final = re.compile(r"[\u4e00-\u9fff]{1,10}?(?:自治县|自治旗|林区|特区|新区|区|县|市|旗)")
_NO_DISTRICT: Final = re.compile(
    r"(?:[小社园校厂景库片辖工功矿院居住活宅税护易]区|[超夜菜集]市|[一二三四五六七八九十]区)$"
)
# After a short city name these say that the name is a street's or a district's: 朝阳区, 南京路.
_NO_CITY: Final = re.compile(
    r"(?:[东西南北中]?[路街道巷]|大道|大街|区|县|镇|乡|村|花园|小区|大厦|广场)"
)
_CITIES: Final = sorted(_DIVIDED | _UNDIVIDED, key=len, reverse=True)
_CITIES_BY_HEAD: Final[dict[str, list[str]]] = {}
for _name in _CITIES:
    _CITIES_BY_HEAD.setdefault(_name[:2], []).append(_name)
_SPACES: Final = re.compile(r"[\s,，;；/|_]+|(?<=[\u4e00-\u9fff])-(?=[\u4e00-\u9fff])")
_WARDS: Final = ("市北区", "市南区", "市中区")  # districts whose names begin like a city's ending
_STREET: Final = re.compile(r"[路街巷镇乡村]")


def split_address(text: str) -> AddressParts:
    """Split an address in one line into its levels. Time is linear in the length of the text."""
    rest = _SPACES.sub("", text[:300]).removeprefix("中国")
    province, rest = _take_province(rest)
    city, rest = _take_city(rest)
    if province in MUNICIPALITIES and not city:
        city = full_province(province)
    if not province and city.removesuffix("市") in MUNICIPALITIES:
        province = city.removesuffix("市")
    if city:  # people write the city twice: 杭州市余杭区杭州市余杭区
        rest = rest.removeprefix(city)
    district, rest = _take_district(rest)
    return AddressParts(full_province(province) if province else "", city, district, rest)


def _take_province(text: str) -> tuple[str, str]:
    for written in _BY_LENGTH:
        if not text.startswith(written):
            continue
        short, rest = _PROVINCE_NAMES[written], text[len(written) :]
        is_short = written == short
        if is_short and short not in MUNICIPALITIES and rest.startswith(("市", "藏族")):
            return "", text  # 吉林市 is a city, 海南藏族自治州 is in 青海
        if is_short and _NO_CITY.match(rest):
            return "", text  # 上海路, 河北区
        return short, rest
    return "", text


def _take_city(text: str) -> tuple[str, str]:
    for name in _CITIES_BY_HEAD.get(text[:2], ()):
        if not text.startswith(name):
            continue
        rest = text[len(name) :]
        if rest.startswith("市") and not rest.startswith(("市场", *_WARDS)):
            return f"{name}市", rest[1:]
        if rest and not rest.startswith("市场") and not _NO_CITY.match(rest):
            return name if name.endswith(("县", "区")) else f"{name}市", rest
    match = _PREFECTURE.match(text)
    if match is not None and len(match.group()) <= 12 and "市" not in match.group()[:-1]:
        return match.group(), text[match.end() :]
    return "", text


def _take_district(text: str) -> tuple[str, str]:
    match = _COUNTY.match(text)
    if match is None or len(match.group()) < 2 or _NO_DISTRICT.search(match.group()):
        return "", text
    if match.group()[-1] == "市" and text.startswith(("场", "政"), match.end()):
        return "", text  # 农贸市场, 市政府
    if _STREET.search(match.group()[:-1], 2):
        return "", text  # a street came first
    return match.group(), text[match.end() :]
