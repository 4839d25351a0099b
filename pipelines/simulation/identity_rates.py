"""How often identity goes wrong in a simulated population: every rate with its source, or what we argue it from."""

from __future__ import annotations

from dataclasses import dataclass

DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Rates:
    """Shares and counts of `households.people` and what follows it; shares are 0 to 1, of what the comment says.

    Where no figure is published the comment argues the order of magnitude. None was chosen by looking at what a
    resolver makes of it; `python -m tests.bench.identity_world` shows what is left undecidable under them.
    """

    #: Weights of households with 1, 2, 3, 4 members who are our customers. The mean household has 2.62 members
    #: (census 2020), but a brand rarely serves all of them: 41 % of the persons then share a household.
    household_weights: tuple[float, ...] = (0.78, 0.14, 0.06, 0.02)
    #: Of these households: somebody has no number of his own and uses another's. There are some 1.2 mobile numbers a
    #: head (MIIT), so this is about children and the very old.
    family_phone: float = 0.06
    #: Of the persons on another's number: registers with that number / registers without a number / never registers.
    family_phone_registers: tuple[float, float, float] = (0.3, 0.3, 0.4)
    #: Of these households: two write from one e-mail account. E-mail is little used by Chinese consumers.
    shared_email: float = 0.03
    #: Of these households: two chat from one browser (a family computer or tablet).
    shared_device: float = 0.06
    #: Persons who are twins and both customers: about 1 % of births bring twins, and siblings share brands often.
    twins: float = 0.004
    #: Persons who share name and birth date with a stranger. Chance alone gives it in any large base: with 10 million
    #: customers, 20,000 birth dates and popular names (1 in 5,000) a person has 0.1 such strangers in the base; a
    #: population of 20,000 stands for a sample of one region, so fewer.
    namesakes: float = 0.004
    #: A person's number changes, a year: portability made this rarer; operators report 1 to 2 % of churn a month for
    #: all lines, most of them second lines.
    phone_change_a_year: float = 0.07
    #: Of the numbers given up: issued again to another of our customers. Most go to people who are none.
    reissued_to_customer: float = 0.15
    #: Operators hold a number back for at least 90 days (telecom numbering rules); then it waits for a buyer.
    quiet_days: int = 90
    reissue_mean_days: int = 60
    #: Of the numbers issued again: within 10 to 89 days (resellers of virtual operators, company lines given to the
    #: next employee, a lost account).
    early_reissue: float = 0.08
    #: Whoever gets a number that way opens his app by SMS and finds the account of the person before, where that
    #: person had not bound a new number: a complaint known as 二次放号.
    inherited_app_account: float = 0.25
    #: After a change of number: tells us at some time (CRM revision), after a mean of so many days; the rest never.
    tells_new_phone: float = 0.6
    tells_after_days: int = 45
    #: After a change of number an SMS login opens a second app account instead of binding the new number.
    second_app_account: float = 0.25
    #: A new WeChat account, a year (lost password, a second account for work): all its IDs are new.
    new_wechat_a_year: float = 0.02
    #: A browser's visitor ID lives so long in the mean: cookies are cleared, devices replaced.
    visitor_days: int = 300
    #: Persons known to the CRM at some time; the others write or call without ever registering.
    registered: float = 0.82
    #: Of these: before the span begins.
    registered_before: float = 0.6
    #: Registration by mini program (number and unionid in one tap), app (SMS code), store, web form.
    registration_ways: tuple[float, float, float, float] = (0.45, 0.25, 0.2, 0.1)
    #: A person registers on a channel of his own liking, if that is one of the four; else by the shares above.
    registers_where_liked: float = 0.7
    #: Of those who did not come by mini program: bind WeChat later, if they write to us there / if they do not.
    binds_wechat: float = 0.7
    binds_wechat_unused: float = 0.3
    #: An e-mail address is given at registration, by those who write mails / by others. The web form asks everybody.
    gives_email_used: float = 0.8
    gives_email: float = 0.25
    #: Registered persons with a second CRM record: 4 to 10 % duplicates are usual in a CRM that has several entrances.
    duplicate_records: float = 0.04
    #: A digit or letter typed wrongly, a field: studies of manual entry give 0.5 to 3 %.
    typing_error: float = 0.01
    #: A typed number that is a placeholder; half of those are on no list of ours.
    placeholder: float = 0.015
    #: A store contact or registration with the clerk's own phone, or the shop's landline: customers who will not
    #: give a number, and clerks with a target.
    clerk_phone: float = 0.02
    shop_landline: float = 0.01
    stores: int = 40
    #: Persons who work behind one corporate switchboard, and how many of their calls come from it.
    switchboard: float = 0.01
    switchboard_calls: float = 0.5
    switchboard_in_crm: float = 0.15
    #: The contact centre's test account: its contacts, and how many real customers' member numbers it is used with.
    test_contacts: int = 200
    test_members: int = 150
    #: Contacts in 24 months: of a registered person, of another (exponential, at least 1).
    contacts_registered: float = 9.0
    contacts_other: float = 2.0
