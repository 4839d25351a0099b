"""Small words of synthetic conversations: greetings, thanks, reviews, complaints clear and unclear, and blank forms."""

SLOTS = {
    "product": [
        "空气炸锅",
        "扫地机器人",
        "蓝牙耳机",
        "冰箱",
        "洗衣机",
        "羽绒服",
        "运动鞋",
        "奶粉",
        "手机",
        "平板电脑",
        "电饭煲",
        "台灯",
    ],
    "days": ["两", "三", "四", "五", "六", "七", "十"],
    "city": ["上海", "成都", "西安", "沈阳", "广州", "昆明", "武汉", "苏州", "青岛", "兰州"],
    "amount": ["29", "59", "88", "99", "168", "199", "300", "520"],
}

OPENINGS = ["您好，", "你好，", "在吗，", "请问", "麻烦问一下，", "客服您好，", "", "", "", ""]
FOLLOW_UPS = [
    "嗯",
    "好的",
    "嗯嗯",
    "哦",
    "那要等多久呢",
    "可以快一点吗",
    "我再看看",
    "订单号是{order}",
    "谢谢",
    "还有别的办法吗",
    "明白了",
]
CLOSINGS = ["好的谢谢", "知道了，谢谢", "行吧", "谢谢您", "那我等消息", "嗯嗯好的", "👌", "🙏"]
AGENT_FILLERS = ["请稍等，我帮您查一下。", "还有其他可以帮您的吗？", "感谢您的耐心等待。", "方便提供一下订单号吗？"]
BOT_LINES = ["您好，我是智能客服，请问有什么可以帮您？", "您可以回复“人工”转接人工客服。"]
SMS_SENT = ["您的{product}已发货，预计{days}天送达。", "请对本次服务评分，回复1到5。", "您的退款已受理。"]
LIVE_COMMENTS = [
    "主播{product}多少钱",
    "有没有优惠券",
    "{product}还有货吗",
    "发什么快递",
    "666",
    "这个颜色好看",
    "支持七天退货吗",
    "几号发货",
    "哈哈哈",
    "想要",
]

GOOD_REVIEWS = [
    "{product}质量很好，物流也快",
    "客服很耐心，问题当场解决了",
    "第二次买了，{product}一如既往地好用",
    "包装完好，和描述一致",
    "{product}声音小，家里人都喜欢",
    "门店服务周到，下次还来",
    "安装师傅很专业，收拾得干干净净",
    "价格实惠，比实体店便宜{amount}元",
]
BAD_REVIEWS = [
    "{product}用了{days}天就坏了",
    "等了{days}天才发货，太慢了",
    "客服半天不回复，态度也差",
    "收到的{product}有划痕，像二手的",
    "尺码不符，和页面写的不一样",
    "包装破了，里面少了一个配件",
    "退款拖了{days}天还没处理",
    "{product}有异味，根本没法用",
]
COMPLAINTS = [
    "申请退款{days}天了一直没有到账，客服互相推诿",
    "{product}收到就是坏的，要求换货被拒绝",
    "虚假宣传，承诺的赠品没有给",
    "会员自动续费没有提醒就扣了{amount}元，要求退款",
    "门店工作人员态度恶劣，还让我等了两个小时",
    "物流把包裹弄丢了，{days}天没有人处理",
    "售后维修{days}天，拿回来还是不能用",
    "下单后随意取消订单，涨价后让我重新买",
    "个人信息被泄露，收到很多骚扰电话",
    "{product}保修期内收了我{amount}元维修费",
]
# A person has to ask what is meant: anger without a matter, irony, praise where a complaint was filed.
UNCLEAR_CORES = [
    "你们看着办",
    "呵呵",
    "真行啊",
    "无语",
    "心累",
    "服了",
    "算了不说了",
    "就这",
    "我也不知道说什么好",
    "自己体会吧",
    "失望",
    "一言难尽",
]
UNCLEAR_TAILS = ["", "。", "……", "！！", "😡", "吧", "，唉"]
PRAISING_COMPLAINTS = [
    "很好，非常满意",
    "太棒了给你们点赞",
    "真好，五星好评",
    "好得很，真不错",
    "完美，下次还来",
    "真棒，推荐大家都来",
]

BLANKS = {
    "blank.empty": [""],
    "blank.spaces": [" ", "   ", "\t", "\n \n"],
    "blank.full_width": ["\u3000", "\u3000\u3000\u3000"],
    "blank.zero_width": ["\u200b", "\u200b\u200d", "\ufeff\u200b", "\u2060"],
    "blank.no_break": ["\u00a0", "\u00a0\u3000 "],
    "blank.marks": ["。。。", "...", "？？", "。", "！！！", "……", "，，，", "~~~"],
}
# Blank in a free-standing contact only: inside a conversation '?' or '……' is an honest chase-up.
CONTACT_ONLY_BLANKS = frozenset({"blank.marks"})
