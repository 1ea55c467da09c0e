"""Invented orders are born here: goods, people, money, and the way of one nothing goes wrong with.

Everything comes from the random numbers of a seed. Times are whole seconds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta

from connectors.simulators.life import Life, LifeLine, LifePromotion, LifeShipment

TMALL, DOUYIN, MALL = "tmall", "douyin", "private_mall"
CHANNELS = (TMALL, DOUYIN, MALL)
# What of the healthy orders comes from where; with the stuck ones about 50, 33 and 17 percent.
SHARES = {TMALL: 51, DOUYIN: 34, MALL: 15}
SHOPS = {TMALL: "天猫旗舰店", DOUYIN: "抖音旗舰店", MALL: "私域小程序商城"}

PLACES = (
    ("浙江省", "杭州市", "余杭区", "仓前街道"), ("上海市", "上海市", "浦东新区", "花木街道"),
    ("广东省", "深圳市", "南山区", "粤海街道"), ("四川省", "成都市", "武侯区", "浆洗街街道"),
    ("湖北省", "武汉市", "洪山区", "珞南街道"), ("江苏省", "苏州市", "姑苏区", "平江街道"),
    ("北京市", "北京市", "朝阳区", "望京街道"), ("福建省", "厦门市", "思明区", "莲前街道"),
    ("陕西省", "西安市", "雁塔区", "小寨路街道"), ("山东省", "青岛市", "市南区", "香港中路街道"),
    ("辽宁省", "大连市", "中山区", "桃源街道"),
)  # fmt: skip
# Cities that have no districts: nothing is missing in them.
COUNTY_PLACES = (
    ("湖北省", "仙桃市", "", "干河街道"), ("河南省", "济源市", "", "沁园街道"),
    ("海南省", "五指山市", "", "通什镇"), ("广东省", "东莞市", "", "南城街道"),
)  # fmt: skip
_GOODS = (
    "羊毛双面呢大衣", "法式碎花连衣裙", "高腰直筒牛仔裤", "真丝衬衫", "针织开衫", "短款羽绒服",
    "百褶半身裙", "圆领卫衣",
)  # fmt: skip
_GIFT = ("GIFT01", "品牌帆布袋")
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡林郭何高罗"
_CARRIERS = (("顺丰速运", "SF"), ("圆通速递", "YT"), ("中通快递", "ZT"))
_MEMOS = ("", "", "", "", "请尽快发货", "送人，请勿放小票", "工作日送")
# Platforms number orders with 19 digits; steps leave room for the numbers of lines.
_FIRST_NUMBERS = {TMALL: 2_890_110_000_000_000_000, DOUYIN: 6_921_110_000_000_000_000,
                  MALL: 110_000_000_000}  # fmt: skip
DEPOSIT_FEN = 5000


def later(rng: random.Random, start: datetime, low: float, high: float) -> datetime:
    """A moment `low` to `high` minutes after start, in whole seconds."""
    return start + timedelta(seconds=round(rng.uniform(low, high) * 60))


class Numbers:
    """Order numbers that only rise, per channel."""

    def __init__(self) -> None:
        self._last = dict(_FIRST_NUMBERS)

    def take(self, rng: random.Random, channel: str) -> str:
        """The next number of a channel."""
        self._last[channel] += rng.randint(3, 90) * 100
        number = str(self._last[channel])
        return f"MP{number}" if channel == MALL else number


class Births:
    """Makes lives; one random generator and one row of numbers. `shops`: its name per channel."""

    def __init__(
        self, rng: random.Random, numbers: Numbers, *, shops: Mapping[str, str] = SHOPS
    ) -> None:
        self.rng, self.numbers, self.shops = rng, numbers, shops

    def pick_channel(self, allowed: tuple[str, ...] = CHANNELS) -> str:
        """One of the allowed channels, by their shares."""
        return self.rng.choices(allowed, [SHARES[c] for c in allowed])[0]

    def bear(self, channel: str, placed: datetime) -> Life:
        """An order that was placed, with goods, money and a receiver; nothing else has happened."""
        rng = self.rng
        lines = [self._line() for _ in range(rng.choices((1, 2, 3), (62, 28, 10))[0])]
        place = rng.choice(PLACES)
        life = Life(
            order_no=self.numbers.take(rng, channel),
            channel=channel,
            shop=self.shops[channel],
            placed=placed.replace(microsecond=0),
            lines=lines,
            freight_fen=rng.choice((0, 0, 0, 800, 1000)),
            gateway=rng.choice(("alipay", "wechat_pay")) if channel == MALL else "",
            buyer=f"b{rng.randrange(10**9):09d}",
            receiver=rng.choice(_SURNAMES) + rng.choice(("女士", "先生", "小姐")),
            phone=f"199{rng.randrange(10**8):08d}",
            province=place[0],
            city=place[1],
            district=place[2],
            town=place[3],
            detail=f"演示路{rng.randint(1, 999)}号{rng.randint(1, 30)}幢{rng.randint(101, 3204)}室",
            remark=rng.choice(_MEMOS),
        )
        self._discount(life)
        if rng.random() < 0.1:
            life.lag = timedelta(seconds=rng.randint(5, 60))
        return life

    def _line(self) -> LifeLine:
        rng = self.rng
        return LifeLine(
            sku=f"SKU{rng.randint(100, 189)}",
            title=rng.choice(_GOODS),
            quantity=rng.choices((1, 2), (9, 1))[0],
            price_fen=rng.randint(59, 899) * 100,
            stock_available=rng.randint(20, 400),
        )

    def _discount(self, life: Life) -> None:
        """Up to three promotions: full-reduction of the shop, subsidy of the platform, coupon."""
        rng = self.rng
        promotions = []
        life.shop_discount_fen = rng.choice((0, 1000, 2000))
        if life.shop_discount_fen:
            promotions.append(LifePromotion(
                "mjs-123024_211143", "mjs", "店铺满减", life.shop_discount_fen))  # fmt: skip
        if life.channel != MALL:
            life.platform_discount_fen = rng.choice((0, 0, 1500, 2500))
        if life.platform_discount_fen:
            promotions.append(LifePromotion(
                "acrossShopMjs-20251111_1", "acrossShopMjs", "跨店满减",
                life.platform_discount_fen, funder="platform"))  # fmt: skip
        life.coupon_fen = rng.choice((0, 0, 500, 1000))
        if life.coupon_fen:
            promotions.append(LifePromotion(
                "shopbonus-77120_9031", "shopbonus", "店铺优惠券", life.coupon_fen))  # fmt: skip
        life.promotions = tuple(promotions)

    # -- money comes in ----------------------------------------------------------------------

    def pay(self, life: Life, moment: datetime, *, callback_seconds: int | None = None) -> datetime:
        """The buyer pays at `moment` (returned); the own mall's gateway knows seconds before."""
        life.paid = moment
        if life.channel == MALL and life.payable_fen > 0:
            seconds = self.rng.randint(2, 9) if callback_seconds is None else callback_seconds
            life.gateway_paid = moment - timedelta(seconds=seconds)
        return moment

    def promise_balance(self, life: Life, *, opens: datetime, due: datetime) -> None:
        """Make it a presale whose deposit is paid: dearer goods, a deposit, a balance window."""
        first = life.lines[0]
        first.price_fen += 30_000 // first.quantity
        life.presale, life.deposit_fen = True, DEPOSIT_FEN
        life.deposit_paid = later(self.rng, life.placed, 0.5, 5)
        life.balance_opens, life.balance_due = opens, due

    def pay_balance(self, life: Life, moment: datetime) -> datetime:
        """The second payment (its moment is returned): from now on the trade is paid."""
        life.balance_paid = moment
        return self.pay(life, moment)

    # -- and goods go out --------------------------------------------------------------------

    def flow(self, life: Life, start: datetime) -> datetime:
        """The healthy way from `start` (the payment, or the end of what held it) to delivery.

        Returns when the warehouse receives it.
        """
        rng = self.rng
        life.locked = life.locked or later(rng, start, 0.2, 0.6)
        life.oms = life.oms or later(rng, start, 0.3, 4)
        life.reviewed = life.reviewed or later(rng, max(life.oms, start), 2, 20)
        life.wms = later(rng, max(life.reviewed, start), 2, 20)
        life.printed = later(rng, life.wms, 5, 25)
        life.picked = later(rng, life.printed, 25, 275)
        life.packed = later(rng, life.picked, 5, 30)
        life.out = later(rng, life.packed, 15, 150)
        life.shipped = later(rng, life.out, 2, 20)
        life.delivered = later(rng, life.shipped, 24 * 60, 70 * 60)
        life.completed = later(rng, life.delivered, 24 * 60, 9 * 24 * 60)
        life.shipments = (self.parcel(life.shipped),)
        return life.wms

    def parcel(self, moment: datetime, lines: tuple[int, ...] = ()) -> LifeShipment:
        """A parcel that left at `moment`."""
        company, prefix = self.rng.choice(_CARRIERS)
        return LifeShipment(moment, company, f"{prefix}{self.rng.randrange(10**12):012d}", lines)

    def stop_before_shipping(self, life: Life) -> None:
        """Take back what comes after the warehouse received it."""
        life.out = life.shipped = life.delivered = life.completed = None
        life.shipments = ()

    def promise_gift(self, life: Life, *, is_added: bool) -> None:
        """A promotion that gives a gift; `is_added`: the gift is among the lines."""
        sku, title = _GIFT
        life.gifts_due = 1
        life.promotions = (*life.promotions, LifePromotion(
            "mzjs-5500_18", "mzjs", "满额赠" + title, gift_sku=sku, gift_quantity=1))  # fmt: skip
        if is_added:
            life.lines.append(LifeLine(
                sku=sku, title=title, is_gift=True, gift_of=0, stock_available=900))  # fmt: skip
